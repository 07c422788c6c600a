"""Scenario rows D: agents as tools, and what they ask."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any

import pytest
from pydantic import BaseModel

from handfast import Agent, AgentFailure, NestedRun, RunContext
from handfast.errors import RunCancelledError, RunFailedError
from handfast.history.reader import history_of
from handfast.testing import Hang, Lab, Reply, Script, call, text
from support.evidence import failed_tasks
from support.labs import Effects, MakeLab
from support.nested import asked, wiper

DONE = Reply(text("done"))


def outputs(lab: Lab, request: int) -> list[tuple[str, Any]]:
    """The call outputs that a model request carried, in its order."""
    return [
        (item["call_id"], item["output"])
        for item in lab.model.requests[request - 1].body["input"]
        if item["type"] == "function_call_output"
    ]


async def test_a_nested_request_is_decided_at_the_root(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """D1: the run lists one approval that names the inner agent and tool; approving it finishes inner, then outer."""
    triage = Agent("triage", model="m", tools=[wiper(effects).as_tool()])
    script = [
        Reply(call("auditor", {"input": "audit it"}, "o1")),
        asked(),
        Reply(text("audited")),
        Reply(text("all is well")),
    ]
    lab = await make_lab([triage], script=script, max_cached_workflows=cache)
    run = await lab.start("triage")
    request = await lab.next_request(run)
    assert (request.agent, request.agent_path, request.tool) == ("auditor", ["triage", "auditor"], "wipe_auditor")
    assert [(each.tool, each.state, each.agent_path) for each in (await run.status()).calls] == [
        ("auditor", "running", ["triage"]),
        ("wipe_auditor", "asking", ["triage", "auditor"]),
    ]
    await run.approve(request, decided_by="lead")
    result = await run.result()
    assert (result.output, result.agent, result.turns) == ("all is well", "triage", 2)
    assert effects == ["auditor wipes t"]
    inner = lab.model.requests[1].body
    assert inner["instructions"] == "You are auditor."
    assert inner["input"] == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "audit it"}]}
    ]
    assert outputs(lab, 4) == [("o1", "audited")]
    assert lab.model.violations == []


async def test_a_nested_pause_survives_everything_in_memory(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """D2: a new worker with nothing in memory goes on with the inner run; it is not started a second time."""
    triage = Agent("triage", model="m", tools=[wiper(effects).as_tool()])
    script = [Reply(call("auditor", {"input": "go"}, "o1")), asked(), Reply(text("audited")), DONE]
    lab = await make_lab([triage], script=script, max_cached_workflows=cache)
    run = await lab.start("triage")
    request = await lab.next_request(run)
    await lab.replace_worker()
    gc.collect()
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert effects == ["auditor wipes t"]
    assert len(lab.model.requests) == 4


async def test_parallel_nested_calls_are_decided_one_by_one(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """D3: of two nested loops that wait, deciding one finishes that one; the other stays as it is."""
    auditor, cleaner = wiper(effects), wiper(effects, "cleaner")
    triage = Agent("triage", instructions="root", model="m", tools=[auditor.as_tool(), cleaner.as_tool()])

    def script(request: Any) -> Any:
        who = request.body.get("instructions")
        has_output = any(item["type"] == "function_call_output" for item in request.body["input"])
        if who == "root":
            if has_output:
                return DONE
            return Reply(call("auditor", {"input": "a"}, "o1"), call("cleaner", {"input": "c"}, "o2"))
        name = "auditor" if "auditor" in who else "cleaner"
        return Reply(text(f"{name} is done")) if has_output else asked("t", "i1", name)

    lab = await make_lab([triage], script=Script.of(script), max_cached_workflows=cache)
    run = await lab.start("triage")
    pending = {request.agent: request for request in await lab.open_requests(run, 2)}
    await run.approve(pending["cleaner"], decided_by="lead")
    await until_calls(lab, run, {"cleaner": "settled"})
    assert [request.agent for request in await run.pending()] == ["auditor"]
    assert effects == ["cleaner wipes t"]
    await run.reject(pending["auditor"], decided_by="lead", reason="no")
    await run.result()
    assert outputs(lab, len(lab.model.requests)) == [("o1", "auditor is done"), ("o2", "cleaner is done")]
    assert effects == ["cleaner wipes t"]


@pytest.mark.parametrize("restart", [False, True], ids=["at-once", "after-a-restart"])
@pytest.mark.parametrize("yes", [True, False], ids=["approved", "rejected"])
async def test_three_levels_are_decided_at_the_root(
    make_lab: MakeLab, effects: Effects, *, yes: bool, restart: bool, cache: int
) -> None:
    """D4: a call three agents down is approved or rejected at the root, before and after a restart."""
    third = wiper(effects, "third")
    second = Agent("second", model="m", tools=[third.as_tool()])
    first = Agent("first", model="m", tools=[second.as_tool()])
    root = Agent("root", model="m", tools=[first.as_tool()])
    script = [
        Reply(call("first", {"input": "1"}, "a1")),
        Reply(call("second", {"input": "2"}, "a2")),
        Reply(call("third", {"input": "3"}, "a3")),
        asked("t", "a4", "third"),
        Reply(text("third done")),
        Reply(text("second done")),
        Reply(text("first done")),
        Reply(text("root done")),
    ]
    lab = await make_lab([root], script=script, max_cached_workflows=cache)
    run = await lab.start("root")
    request = await lab.next_request(run)
    assert request.agent_path == ["root", "first", "second", "third"]
    if restart:
        await lab.replace_worker()
    if yes:
        await run.approve(request, decided_by="lead")
    else:
        await run.reject(request, decided_by="lead", reason="leave it")
    result = await run.result()
    assert result.output == "root done"
    assert effects == (["third wipes t"] if yes else [])
    assert outputs(lab, 5) == [("a4", "wiped t" if yes else "leave it")]
    assert outputs(lab, 8) == [("a1", "first done")]


async def test_a_gated_agent_with_a_gated_tool_asks_twice(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """D5: the agent's own gate asks first, its tool's gate second, and its loop runs once."""
    triage = Agent("triage", model="m", tools=[wiper(effects).as_tool(approval=True)])
    script = [Reply(call("auditor", {"input": "go"}, "o1")), asked(), Reply(text("audited")), DONE]
    lab = await make_lab([triage], script=script, max_cached_workflows=cache)
    run = await lab.start("triage")
    outer = await lab.next_request(run)
    assert (outer.tool, outer.agent_path, outer.arguments) == ("auditor", ["triage"], {"input": "go"})
    assert len(lab.model.requests) == 1
    await run.approve(outer, decided_by="lead")
    inner = await lab.next_request(run)
    assert (inner.tool, inner.agent_path) == ("wipe_auditor", ["triage", "auditor"])
    await run.approve(inner, decided_by="lead")
    await run.result()
    assert effects == ["auditor wipes t"]
    assert len(lab.model.requests) == 4


async def test_the_inner_agent_reads_a_rejection_and_may_try_again(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """D6: an inner rejection goes to the inner model, which may ask anew; the outer call goes on meanwhile."""
    triage = Agent("triage", model="m", tools=[wiper(effects).as_tool()])
    script = [
        Reply(call("auditor", {"input": "go"}, "o1")),
        asked("all", "i1"),
        asked("some", "i2"),
        Reply(text("audited some")),
        DONE,
    ]
    lab = await make_lab([triage], script=script, max_cached_workflows=cache)
    run = await lab.start("triage")
    first = await lab.next_request(run)
    await run.reject(first, decided_by="lead", reason="not all of it")
    second = await next_other(lab, run, first.id)
    assert second.arguments == {"target": "some"}
    assert outputs(lab, 3) == [("i1", "not all of it")]
    await run.approve(second, decided_by="lead")
    await run.result()
    assert effects == ["auditor wipes some"]
    assert outputs(lab, 5) == [("o1", "audited some")]


async def test_a_nested_run_that_nobody_resumes_can_be_cancelled(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """D7: cancelling the run withdraws what its nested loop asked, and nothing of it goes on."""
    triage = Agent("triage", model="m", tools=[wiper(effects).as_tool()])
    script = [Reply(call("auditor", {"input": "go"}, "o1")), asked()]
    lab = await make_lab([triage], script=script, max_cached_workflows=cache)
    run = await lab.start("triage")
    await lab.next_request(run)
    await run.cancel("nobody needs it")
    with pytest.raises(RunCancelledError, match="nobody needs it"):
        await run.result()
    assert await run.pending() == []
    assert effects == []
    assert len(lab.model.requests) == 2


async def test_a_committed_inner_output_is_not_made_again(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """D8: with the inner approved tool's output recorded, a restart goes on behind it; the tool does not run again."""
    triage = Agent("triage", model="m", tools=[wiper(effects).as_tool()])
    script = [Reply(call("auditor", {"input": "go"}, "o1")), asked(), Hang(), Reply(text("audited")), DONE]
    lab = await make_lab([triage], script=script, max_cached_workflows=cache)
    run = await lab.start("triage")
    await run.approve(await lab.next_request(run), decided_by="lead")
    await lab.model.wait_for_request(3)
    await lab.replace_worker()
    assert (await run.result()).output == "done"
    assert effects == ["auditor wipes t"]


class Question(BaseModel):
    """What the auditor is asked."""

    subject: str
    depth: int = 1


async def test_builder_extractor_and_limits_survive_the_pause(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """D9: the extractor runs at the real end only, the nested limit counts across the pause, and so does usage."""

    def build(context: RunContext, arguments: Question) -> str:
        effects.append("built")
        return f"{arguments.subject} for {context.requested_by}"

    def extract(_context: RunContext, run: NestedRun) -> dict[str, object]:
        effects.append("extracted")
        return {"said": run.output, "turns": run.turns, "items": len(run.items)}

    auditor = wiper(effects)
    nested = auditor.as_tool(parameters=Question, input_builder=build, output_extractor=extract, max_turns=2)
    triage = Agent("triage", model="m", tools=[nested])
    script = [
        Reply(call("auditor", {"subject": "books", "depth": None}, "o1")),
        asked(),
        Reply(text("audited")),
        DONE,
    ]
    lab = await make_lab([triage], script=script, max_cached_workflows=cache)
    run = await lab.start("triage", requested_by="ann")
    request = await lab.next_request(run)
    assert effects == ["built"]
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    result = await run.result()
    assert effects == ["built", "auditor wipes t", "extracted"]
    assert lab.model.requests[1].body["input"][0]["content"][0]["text"] == "books for ann"
    assert outputs(lab, 4) == [("o1", '{"said": "audited", "turns": 2, "items": 4}')]
    assert result.usage.requests == 4


async def test_edited_arguments_of_an_agent_that_takes_others_by_now(make_lab: MakeLab, cache: int) -> None:
    """D9: a deploy gives an agent tool other parameters while its call waits; edited for the new ones, it reads them as
    JSON, and the run goes on."""
    auditor = Agent("auditor", model="m")
    script = [Reply(call("auditor", {"input": "go"}, "o1")), Reply(text("audited")), DONE]
    before = Agent("triage", model="m", tools=[auditor.as_tool(approval=True)])
    after = Agent("triage", model="m", tools=[auditor.as_tool(approval=True, parameters=Question)])
    lab = await make_lab([before], script=script, max_cached_workflows=cache)
    run = await lab.start("triage")
    request = await lab.next_request(run)
    await lab.stop_worker()
    await lab.start_worker([after])
    await run.approve(request, decided_by="lead", arguments={"subject": "books", "depth": 2})
    assert (await run.result()).output == "done"
    [said] = lab.model.requests[1].body["input"][0]["content"]
    assert json.loads(said["text"]) == {"subject": "books", "depth": 2}
    assert await failed_tasks(lab, run) == 0


async def test_an_extractor_gets_a_typed_output_as_it_is(make_lab: MakeLab, cache: int) -> None:
    """D9: of a nested agent with an output type the extractor gets the value, not its text."""

    def total(_context: RunContext, run: NestedRun) -> int:
        assert isinstance(run.output, list)
        return sum(number for number in run.output if isinstance(number, int))

    auditor = Agent("auditor", model="m", output_type=list[int])
    nested = auditor.as_tool(output_extractor=total)
    script = [Reply(call("auditor", {"input": "go"}, "o1")), Reply(text('{"response": [1, 2, 3]}')), DONE]
    lab = await make_lab([Agent("triage", model="m", tools=[nested])], script=script, max_cached_workflows=cache)
    await (await lab.start("triage")).result()
    assert outputs(lab, 3) == [("o1", "6")]


@pytest.mark.parametrize(
    ("on_error", "read"),
    [
        pytest.param("tell_model", "The agent auditor failed (MaxTurnsExceeded)", id="told"),
        pytest.param("word", "auditor gave up: MaxTurnsExceeded", id="worded"),
        pytest.param("fail", None, id="failed"),
    ],
)
async def test_a_nested_failure_is_told_worded_or_fails_the_run(
    make_lab: MakeLab, effects: Effects, on_error: Any, read: str | None, cache: int
) -> None:
    """D9: a nested loop out of turns is told to the outer model, in the default words or the user's, or ends it."""

    def word(_context: RunContext, failure: AgentFailure) -> str:
        return f"{failure.agent} gave up: {failure.kind}"

    nested = wiper(effects).as_tool(max_turns=1, on_error=word if on_error == "word" else on_error)
    triage = Agent("triage", model="m", tools=[nested])
    script = [Reply(call("auditor", {"input": "go"}, "o1")), asked(), DONE]
    lab = await make_lab([triage], script=script, max_cached_workflows=cache)
    run = await lab.start("triage")
    await run.approve(await lab.next_request(run), decided_by="lead")
    if read is None:
        with pytest.raises(RunFailedError) as failed:
            await run.result()
        assert failed.value.kind == "MaxTurnsExceeded"
        return
    assert (await run.result()).output == "done"
    [(_, output)] = outputs(lab, 3)
    assert output.startswith(read)


async def test_nested_usage_counts_once_in_the_root(make_lab: MakeLab, effects: Effects) -> None:
    """N2: what nested agents spent counts once in the run's usage, also after a pause and a restart."""
    triage = Agent("triage", model="m", tools=[wiper(effects).as_tool()])
    script = [Reply(call("auditor", {"input": "go"}, "o1")), asked(), Reply(text("audited")), DONE]
    lab = await make_lab([triage], script=script)
    run = await lab.start("triage")
    request = await lab.next_request(run)
    before = (await run.status()).usage
    assert before.requests == 2
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    result = await run.result()
    assert result.usage.requests == 4
    assert result.usage.total_tokens == sum(answered(lab))
    assert (await run.status()).usage == result.usage


def answered(lab: Lab) -> list[int]:
    """The tokens of each reply, as the model's side counted them."""
    return [each.reply["usage"]["total_tokens"] for each in lab.model.requests if each.reply is not None]


async def until_calls(lab: Lab, run: Any, wanted: dict[str, str]) -> None:
    """Wait until the run's calls are in the states *wanted*, looking at each event of its history."""
    async with asyncio.timeout(30):
        async for _ in history_of(lab.client.get_workflow_handle(run.id), wait=True):
            states = {each.tool: each.state for each in (await run.status()).calls}
            if all(states.get(name) == state for name, state in wanted.items()):
                return
    raise AssertionError(f"the calls never were {wanted}")


async def next_other(lab: Lab, run: Any, but: str) -> Any:
    """The first open request that is not *but*."""
    async with asyncio.timeout(30):
        async for request in run.requests():
            if request.id != but:
                return request
    raise AssertionError("no other request opened")
