"""Scenario rows K5, K6 and K9: tools that are told to stop, and ending one call of a run that goes on."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from handfast import Agent, Run, ToolContext, tool
from handfast.errors import CallEndedError, DecisionInvalidError, RequestClosedError, RunCancelledError, RunEndedError
from handfast.payloads.tool_call import ToolOutcome
from handfast.testing import Lab, Reply, call, text
from support.desk import outputs
from support.evidence import logged
from support.labs import Effects, MakeLab
from support.outputs import tool_outcomes

DONE = Reply(text("done"))
CANCELLED = "This call was cancelled before it finished."
WORK = Reply(call("work", {}, "c1"), call("look", {}, "c2"))


class Working:
    """Tools that wait until they are told to stop."""

    def __init__(self, effects: Effects, **options: Any) -> None:
        self.started = asyncio.Event()
        self.looked = asyncio.Event()

        @tool(**options)
        async def work() -> str:
            """Work without end."""
            self.started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                effects.append("stopped")
                raise
            return "never"

        @tool(effect="read_only")
        async def look() -> str:
            """Wait until the other one has ended."""
            await self.looked.wait()
            return "looked"

        self.agent = Agent("desk", model="m", tools=[work, look])


async def only_outcome(lab: Lab, run: Run, kind: str) -> ToolOutcome:
    """The one recorded outcome of that kind."""
    [outcome] = [outcome for outcome in await tool_outcomes(lab, run) if outcome.kind == kind]
    return outcome


async def test_one_running_call_ends_and_the_run_goes_on(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """K9: cancel_call stops the one call that it names; its siblings and the run go on, and the model reads why."""
    working = Working(effects)
    lab = await make_lab([working.agent], script=[WORK, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    await asyncio.wait_for(working.started.wait(), 20)
    cancelled = await run.cancel_call("c1", reason="Use the other system.", by="lead")
    assert (cancelled.state, cancelled.tool) == ("cancelling", "work")
    working.looked.set()
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", f"{CANCELLED} Use the other system."), ("c2", "looked")]
    assert effects == ["stopped"]
    assert lab.model.violations == []


async def test_a_call_that_waits_for_a_person_never_runs(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """K9: cancel_call withdraws the request of a call that waits; a late approval is told so, and nothing runs."""
    working = Working(effects, approval=True)
    lab = await make_lab([working.agent], script=[WORK, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    cancelled = await run.cancel_call("c1", frame=request.frame)
    assert cancelled.state == "cancelled"
    with pytest.raises(RequestClosedError, match="withdrawn"):
        await run.approve(request, decided_by="lead")
    working.looked.set()
    await run.result()
    assert outputs(lab) == [("c1", CANCELLED), ("c2", "looked")]
    assert not working.started.is_set()


async def test_what_cannot_be_cancelled_is_refused(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """K9: an unknown call, one that has ended, and a malformed message get typed refusals, and change nothing."""
    working = Working(effects, approval=True)
    lab = await make_lab([working.agent], script=[WORK, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    with pytest.raises(CallEndedError, match="no call nobody is under way") as unknown:
        await run.cancel_call("nobody")
    assert unknown.value.facts == {"call": "nobody"}
    with pytest.raises(DecisionInvalidError, match="call_id"):
        await run.cancel_call("")
    with pytest.raises(CallEndedError):
        await run.cancel_call("c1", frame="77")
    working.looked.set()
    await run.cancel_call("c1")
    await run.result()
    with pytest.raises(RunEndedError):
        await run.cancel_call("c1")
    assert (await run.decision("none")).state == "unknown"
    assert request.call_id == "c1"


async def test_an_unknown_outcome_is_not_hidden_by_a_cancel(make_lab: MakeLab, effects: Effects) -> None:
    """K9: a call whose outcome is unknown is not cancelled away: its request has to be decided."""

    @tool(timeout=timedelta(milliseconds=50), on_unknown="ask")
    async def work() -> None:
        """Take too long."""
        effects.append("began")
        await asyncio.Event().wait()

    lab = await make_lab([Agent("desk", model="m", tools=[work])], script=[Reply(call("work", {}, "c1")), DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    with pytest.raises(CallEndedError, match="decide its request") as refused:
        await run.cancel_call("c1")
    assert refused.value.facts["request"] == request.id


async def test_a_nested_call_and_a_nested_agent(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """K9: cancelling a call of a nested agent fails only that call; cancelling the agent's own call ends its loop and
    withdraws what it asked; the root goes on."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Wipe."""
        effects.append(target)
        return "wiped"

    inner = Agent("inner", model="inner", description="Cleans up.", tools=[wipe])
    outer = Agent("outer", model="outer", tools=[inner.as_tool()])
    script = [
        Reply(call("inner", {"input": "clean"}, "o1")),
        Reply(call("wipe", {"target": "a"}, "i1"), call("wipe", {"target": "b"}, "i2")),
        Reply(text("outer done")),
    ]
    lab = await make_lab([outer], script=script, max_cached_workflows=cache)
    run = await lab.start("outer")
    first, second = await lab.open_requests(run, 2)
    assert (await run.cancel_call("i1")).frame == first.frame
    assert [request.id for request in await run.pending()] == [second.id]
    assert (await run.cancel_call("o1", reason="Not needed.")).state == "cancelling"
    assert (await run.result()).output == "outer done"
    assert outputs(lab, 3) == [("o1", f"{CANCELLED} Not needed.")]
    assert await run.pending() == []
    assert effects == []


async def test_a_cancelled_agents_limits_cannot_be_raised(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """K9: the loop of a cancelled agent is over: who raises its limits is told so, while the run goes on."""
    working = Working(effects, approval=True)
    inner = Agent("inner", model="inner", tools=working.agent.tools)
    outer = Agent("outer", model="outer", tools=[inner.as_tool(), *working.agent.tools])
    script = [
        Reply(call("inner", {"input": "clean"}, "o1"), call("work", {}, "w1")),
        Reply(call("work", {}, "i1")),
        DONE,
    ]
    lab = await make_lab([outer], script=script, max_cached_workflows=cache)
    run = await lab.start("outer")
    asked = {request.agent: request for request in await lab.open_requests(run, 2)}
    await run.cancel_call("o1")
    await logged(lab, run, "withdrawn", 1)
    with pytest.raises(DecisionInvalidError, match="no loop"):
        await run.raise_limits(turns=3, frame=asked["inner"].frame)
    await run.reject(asked["outer"], decided_by="lead", reason="no")
    await run.result()
    assert outputs(lab, 3) == [("o1", CANCELLED), ("w1", "no")]


@pytest.mark.parametrize("alone", [True, False], ids=["the-call", "the-run"])
async def test_an_async_tool_is_cancelled_and_its_hook_called(
    make_lab: MakeLab, effects: Effects, alone: bool, cache: int
) -> None:
    """K5: a running async tool observes cancellation and its on_cancel is called, with the call's own context."""

    async def stop(ctx: ToolContext) -> None:
        effects.append(f"on_cancel of {ctx.call_id}, {ctx.cancelled}")

    working = Working(effects, on_cancel=stop)
    working.looked.set()
    lab = await make_lab([working.agent], script=[WORK, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    await asyncio.wait_for(working.started.wait(), 20)
    if alone:
        await run.cancel_call("c1")
        await run.result()
    else:
        await run.cancel()
        with pytest.raises(RunCancelledError):
            await run.result()
    assert sorted(effects) == ["on_cancel of c1, True", "stopped"]
    assert (await only_outcome(lab, run, "cancelled")).reason == "cancelled while it was running"


async def test_a_hook_that_fails_is_reported(make_lab: MakeLab, effects: Effects) -> None:
    """K5: an on_cancel that raises changes nothing about the call's end; the outcome says what happened."""

    def stop(_ctx: ToolContext) -> None:
        raise ConnectionError("no route")

    working = Working(effects, on_cancel=stop)
    working.looked.set()
    lab = await make_lab([working.agent], script=[WORK, DONE])
    run = await lab.start("desk")
    await asyncio.wait_for(working.started.wait(), 20)
    await run.cancel_call("c1")
    await run.result()
    reason = (await only_outcome(lab, run, "cancelled")).reason
    assert reason == "cancelled while it was running; on_cancel raised ConnectionError: no route"


async def test_a_call_that_takes_too_long_is_told_to_stop_likewise(make_lab: MakeLab, effects: Effects) -> None:
    """on_cancel is called when the timeout ends a call, too."""

    def stop(ctx: ToolContext) -> None:
        effects.append(f"on_cancel of {ctx.tool}")

    @tool(effect="read_only", timeout=timedelta(milliseconds=50), on_cancel=stop)
    async def work() -> None:
        """Take too long."""
        await asyncio.Event().wait()

    lab = await make_lab([Agent("desk", model="m", tools=[work])], script=[Reply(call("work", {}, "c1")), DONE])
    await (await lab.start("desk")).result()
    assert effects == ["on_cancel of work"]


async def test_a_sync_tool_is_asked_and_waited_for(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """K6: a sync tool is told by its context; until it ends, the call is shown as cancelling and has no output."""
    started, told, may_end = threading.Event(), threading.Event(), threading.Event()

    @tool
    def work(ctx: ToolContext) -> str:
        """Look at the flag."""
        started.set()
        if ctx.cancel_event.wait(20):
            told.set()
        may_end.wait(20)
        return "ended by itself"

    lab = await make_lab(
        [Agent("desk", model="m", tools=[work])],
        script=[Reply(call("work", {}, "c1")), DONE],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk")
    await asyncio.to_thread(started.wait, 20)
    assert (await run.cancel_call("c1")).state == "cancelling"
    await asyncio.to_thread(told.wait, 20)
    assert [each.state for each in (await run.status()).calls] == ["cancelling"]
    assert len(lab.model.requests) == 1
    may_end.set()
    await run.result()
    assert outputs(lab) == [("c1", "ended by itself")]
