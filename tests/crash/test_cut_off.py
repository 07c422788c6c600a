"""Scenario row XF4: what a run that is ended from outside leaves unknown, it says."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from handfast import Agent, Run, tool
from handfast.cli.show import look
from handfast.errors import RunFailedError
from handfast.payloads.events import MayHaveHappened, RunFinished
from handfast.testing import Lab, Reply, Script, call, text
from handfast.testing.responses_server import RecordedRequest
from handfast.testing.script import Step
from support.crash.judge import Judge
from support.crash.till_runs import till
from support.desk import DONE
from support.labs import Effects, MakeLab


def played(request: RecordedRequest) -> Step:
    """Charge the order that the run is about, and look at it."""
    if request.tool_outputs:
        return Reply(text("done"))
    order = {"order": request.first_user_text}
    return Reply(call("charge", order, "c1"), call("look", order, "c2"))


async def cut_off(lab: Lab, run: Run) -> list[Any]:
    """Terminate a run; return what its error, its events and `handfast show` say may have happened: the same."""
    await lab.client.get_workflow_handle(run.id).terminate("enough")
    return await unknown(lab, run, "Terminated")


async def unknown(lab: Lab, run: Run, kind: str) -> list[Any]:
    """What a run that was ended from outside says may have happened."""
    with pytest.raises(RunFailedError, match="from outside") as failed:
        await run.result()
    assert failed.value.kind == kind
    said = [(each["tool"], each["call_id"], each["why"]) for each in failed.value.may_have_happened]
    events = [event async for event in run.events()]
    assert [(each.tool, each.call_id, each.why) for each in events if isinstance(each, MayHaveHappened)] == said
    assert isinstance(events[-1], RunFinished)
    assert (events[-1].facts or {}).get("may_have_happened", []) == [*failed.value.may_have_happened]
    shown = await look(lab.hf, run.id)
    assert shown.may_have_happened == ([*failed.value.may_have_happened] or None)
    return said


async def test_what_was_running_at_a_terminate_may_have_happened(make_lab: MakeLab, judge: Judge) -> None:
    """XF4: terminated before, after and without an effect, each run names exactly the calls that may have taken one;
    the judge's count agrees with it. Reading is no effect."""
    lab = await till(make_lab, judge, script=Script.of(played))
    judge.hold("begin charge early")
    judge.hold("effect charge late")
    judge.hold("look early")
    runs = {order: await lab.start("till", order) for order in ("early", "late", "pending", "done")}
    for order, run in runs.items():
        request = await lab.next_request(run)
        if order != "pending":
            await run.approve(request, decided_by="lead")
    assert (await runs["done"].result()).output == "done"
    await judge.heard("begin charge early")
    await judge.heard("effect charge late")
    await judge.heard("look early")
    assert await cut_off(lab, runs["early"]) == [("charge", "c1", "running")]
    assert await cut_off(lab, runs["late"]) == [("charge", "c1", "running")]
    assert await cut_off(lab, runs["pending"]) == []
    await lab.kill_worker()
    for line in ("begin charge early", "effect charge late", "look early"):
        judge.release(line)
    effects = {order: judge.lines.count(f"effect charge {order}") for order in runs}
    assert effects == {"early": 0, "late": 1, "pending": 0, "done": 1}


def undone(effects: Effects, seconds: float) -> Agent:
    """An agent whose one tool begins, and never ends."""

    @tool(on_unknown="ask", timeout=timedelta(seconds=seconds))
    async def pay(order: str) -> str:
        """Pay an order."""
        effects.append(f"pay {order}")
        await asyncio.Event().wait()
        return "paid"

    return Agent("till", tools=[pay])


async def test_a_doubt_that_was_open_at_a_terminate_stays_one(make_lab: MakeLab, effects: Effects) -> None:
    """XF4: a run that is terminated while a person is asked about a call in doubt says so of that call."""
    lab = await make_lab([undone(effects, 0.3)], script=[Reply(call("pay", {"order": "7"}, "c1")), DONE])
    run = await lab.start("till")
    await lab.next_request(run)
    assert await cut_off(lab, run) == [("pay", "c1", "in_doubt")]
    lines = [line async for line in lab.hf.export(run.id)]
    exported = [line["event"]["call_id"] for line in lines if line.get("event", {}).get("type") == "may_have_happened"]
    assert exported == ["c1"]
    assert effects == ["pay 7"]


async def test_a_run_whose_own_timeout_passes_says_the_same(make_lab: MakeLab, effects: Effects) -> None:
    """XF4: a run that its workflow's timeout ends names the call that was running, like one that was terminated."""
    lab = await make_lab([undone(effects, 60)], script=[Reply(call("pay", {"order": "7"}, "c1")), DONE])
    handle = await lab.client.start_workflow(
        "AgentRun",
        {"agent": "till", "input": "go"},
        id=f"{lab.task_queue}-late",
        task_queue=lab.task_queue,
        execution_timeout=timedelta(seconds=4),
    )
    run = lab.watch(lab.hf.run(handle.id))
    assert await unknown(lab, run, "TimedOut") == [("pay", "c1", "running")]
    assert effects == ["pay 7"]
