"""Fault rows XJ: what agents and models may rely on, whatever becomes of the calls and workers."""

from __future__ import annotations

import gc
import itertools
from datetime import timedelta
from typing import Any, Final

import pytest
from pydantic import BaseModel

from handfast import Agent, Approval, Run, tool
from handfast.errors import RunFailedError
from handfast.payloads.events import ToolOutput
from handfast.payloads.requests import DEFAULT_REJECTION
from handfast.testing import Reply, Script, call, text
from handfast.testing.script import RecordedRequest, Step
from support.evidence import failed_tasks, logged
from support.labs import Effects, MakeLab

DONE = Reply(text("done"))
FATES: Final = ("approve", "deny", "free", "expire")
MIXES: Final = list(itertools.product(FATES, repeat=3))
SAID: Final = {"approve": "ran", "deny": "not now", "free": "ran", "expire": "Nobody decided in time."}


def desk(effects: Effects, **options: Any) -> Agent:
    """An agent with tools that wait for a person, for nobody, and for a person who never comes."""

    @tool(approval=True)
    async def gated(number: int) -> str:
        """Wait for a person."""
        effects.append(f"gated {number}")
        return "ran"

    @tool(approval=Approval(deadline=timedelta(milliseconds=200)))
    async def expiring(number: int) -> str:
        """Wait for a person who never comes."""
        effects.append(f"expiring {number}")
        return "ran"

    @tool
    async def free(number: int) -> str:
        """Wait for nobody."""
        effects.append(f"free {number}")
        return "ran"

    return Agent("desk", model="m", tools=[gated, expiring, free], **options)


TOOL: Final = {"approve": "gated", "deny": "gated", "free": "free", "expire": "expiring"}


AT_ONCE: Final = 16


async def test_each_call_of_a_mixed_reply_has_one_output(make_lab: MakeLab, effects: Effects) -> None:
    """XJ1: three calls, each of which is approved, denied, free or expires, in all 64 mixes, sixteen mixes a reply: the
    next request to the model has exactly one output for each call, the right one, and only what may run has run."""
    fates = [fate for mix in MIXES for fate in mix]
    calls = [call(TOOL[fate], {"number": n}, f"c{n}") for n, fate in enumerate(fates)]
    size = 3 * AT_ONCE
    replies = [Reply(*calls[start : start + size]) for start in range(0, len(calls), size)]
    lab = await make_lab([desk(effects)], script=[*replies, DONE])
    run = await lab.start("desk")
    async for request in run.requests():
        assert request.arguments is not None
        match fates[request.arguments["number"]]:
            case "approve":
                await run.approve(request, decided_by="lead")
            case "deny":
                await run.reject(request, decided_by="lead", reason="not now")
    await run.result()
    assert lab.model.violations == []
    for turn, seen in enumerate(lab.model.requests):
        items = [item for item in seen.body["input"] if item["type"] == "function_call_output"]
        assert [(item["call_id"], item["output"]) for item in items] == [
            (f"c{n}", SAID[fate]) for n, fate in enumerate(fates[: turn * size])
        ]
    assert sorted(effects) == sorted(f"{TOOL[fate]} {n}" for n, fate in enumerate(fates) if fate in ("approve", "free"))


async def test_a_free_call_runs_once_while_its_sibling_waits(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XJ2: of a free and a gated call the free one has run before the decision, does not run again over a restart, and
    its output stands beside the other's."""
    reply = Reply(call("gated", {"number": 1}, "c1"), call("free", {"number": 2}, "c2"))
    lab = await make_lab([desk(effects)], script=[reply, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await _output_of(run, "c2")
    assert effects == ["free 2"]
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    await run.result()
    assert effects == ["free 2", "gated 1"]
    assert lab.model.requests[1].tool_outputs == {"c1": "ran", "c2": "ran"}


async def _output_of(run: Run, call_id: str) -> None:
    """Wait until a call has its output."""
    async for event in run.events():
        if isinstance(event, ToolOutput) and event.call_id == call_id:
            return


PATHS: Final = ("uninterrupted", "paused", "replayed", "restarted", "fresh-histories")


async def test_the_model_is_sent_the_same_bytes_on_every_path(make_lab: MakeLab, effects: Effects) -> None:
    """XJ3: without a pause, with pauses, replayed at every task, over restarts of the worker and over fresh histories
    the requests to the model are equal, byte by byte."""

    @tool(approval=lambda ctx, arguments: ctx.labels["path"] != "uninterrupted")
    async def gated(number: int) -> str:
        """Wait for a person, or not."""
        return f"ran {number}"

    agent = Agent("desk", model="m", tools=[gated])
    turns = [Reply(*(call("gated", {"number": n}, f"t{turn}c{n}") for n in range(2))) for turn in range(3)]
    sent: dict[str, list[bytes]] = {}
    for path in PATHS:
        lab = await make_lab([agent], script=[*turns, DONE], max_cached_workflows=0 if path == "replayed" else 1000)
        options: dict[str, Any] = {"segment_events": 40} if path == "fresh-histories" else {}
        run = await lab.start("desk", labels={"path": path}, **options)
        async for request in run.requests():
            if path == "restarted":
                await lab.replace_worker()
            await run.approve(request, decided_by="lead")
        await run.result()
        assert (len(await lab.histories(run)) > 1) == (path == "fresh-histories")
        sent[path] = [request.content for request in lab.model.requests]
    assert len(sent["uninterrupted"]) == 4
    assert [path for path in PATHS if sent[path] != sent["uninterrupted"]] == []


async def test_turns_count_over_pauses_restarts_and_histories(make_lab: MakeLab, effects: Effects) -> None:
    """XJ4: a run of four turns that pauses in each, changes its worker twice and its history makes four model calls,
    not one more."""
    turns = [Reply(call("gated", {"number": n}, f"c{n}"), *_free(n)) for n in range(9)]
    lab = await make_lab([desk(effects)], script=turns)
    run = await lab.start("desk", max_turns=4, segment_events=40)
    seen = 0
    async for request in run.requests():
        if seen in (1, 2):
            await lab.replace_worker()
        seen += 1
        await run.approve(request, decided_by="lead")
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert (failed.value.kind, len(lab.model.requests), seen) == ("MaxTurnsExceeded", 4, 4)
    assert len(await lab.histories(run)) > 1


def _free(turn: int) -> list[Any]:
    return [call("free", {"number": n}, f"c{turn}f{n}") for n in range(2)]


async def test_a_nested_approval_is_asked_once_over_twenty_workers(make_lab: MakeLab, effects: Effects) -> None:
    """XJ5: twenty runs wait inside a nested agent, each worker goes away with all that it had in memory: the same one
    request of each is found again, and a decision ends it."""
    inner = desk(effects)
    outer = Agent("outer", model="m", tools=[inner.as_tool()])

    def step(request: RecordedRequest) -> Step:
        if request.turns:
            return DONE
        number = int(request.first_user_text.split()[-1])
        if request.tool_names == ["desk"]:
            return Reply(call("desk", {"input": f"number {number}"}, "o1"))
        return Reply(call("gated", {"number": number}, "i1"))

    lab = await make_lab([outer], script=Script.of(step))
    runs = [await lab.start("outer", f"number {n}") for n in range(20)]
    asked = [await lab.next_request(run) for run in runs]
    for n, run in enumerate(runs):
        if n % 4 == 0:
            await lab.replace_worker()
            gc.collect()
        assert [each.id for each in await run.pending()] == [asked[n].id]
        await run.approve(asked[n], decided_by="lead")
        assert (await run.result()).output == "done"
        assert len(await logged(lab, run, "opened", 1)) == 1
    assert sorted(effects) == sorted(f"gated {n}" for n in range(20))


class Report(BaseModel):
    """What an agent answers."""

    title: str
    count: int


async def test_a_typed_answer_stays_typed_over_a_resume(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XJ7: after a pause and a restart the answer is what its type says, and so is a tool's structured argument."""
    script = [Reply(call("gated", {"number": 7}, "c1")), Reply(text('{"title": "Fans", "count": 3}'))]
    lab = await make_lab([desk(effects, output_type=Report)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    assert (await run.result(output_type=Report)).output == Report(title="Fans", count=3)
    assert effects == ["gated 7"]


async def test_a_reason_reaches_the_model_once(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XJ8: why a call was denied stands in the next request once, as that call's output, also where the decision came
    twice and the worker was replaced; a denial without a reason has the default words."""
    script = [Reply(call("gated", {"number": 1}, "c1"), call("gated", {"number": 2}, "c2")), DONE]
    lab = await make_lab([desk(effects)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    first, second = await lab.open_requests(run, 2)
    for _ in range(2):
        await run.reject(first, decided_by="lead", reason="only on Mondays", decision_id="once")
        await lab.replace_worker()
    await run.reject(second, decided_by="lead")
    await run.result()
    assert effects == []
    assert str(lab.model.requests[1].body).count("only on Mondays") == 1
    assert lab.model.requests[1].tool_outputs == {"c1": "only on Mondays", "c2": DEFAULT_REJECTION}
    assert await failed_tasks(lab, run) == 0
