"""Scenario rows XF1, XF3, XF5 and XF7: what a cancel does to what waits, what cannot hear it, and what is over."""

from __future__ import annotations

import asyncio
import threading

import pytest
from pydantic import BaseModel
from temporalio import activity

from handfast import Agent, ToolContext, activity_tool, tool
from handfast.errors import RunCancelledError, RunEndedError
from handfast.payloads.events import CancelRequested, InDoubt, RequestWithdrawn, ToolOutput
from handfast.testing import Reply, call
from support.gated import gated
from support.labs import Effects, MakeLab

WIPE = Reply(call("wipe", {"target": "t"}, "c1"))


async def test_a_cancel_while_a_person_is_asked_runs_nothing(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XF1: the request is shown as withdrawn, with the reason; an approval that comes later is told so."""
    lab = await make_lab([gated(effects)], script=[WIPE], max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await run.cancel("not needed")
    with pytest.raises(RunCancelledError, match="not needed"):
        await run.result()
    [withdrawn] = [event async for event in run.events() if isinstance(event, RequestWithdrawn)]
    assert (withdrawn.request, withdrawn.tool, withdrawn.why) == (request.id, "wipe", "the run was cancelled")
    with pytest.raises(RunEndedError, match=r"has ended \(cancelled\)"):
        await run.approve(request, decided_by="lead")
    assert effects == []


class Order(BaseModel):
    """What the other team's activity takes."""

    order: str


async def test_a_run_is_not_over_before_an_effect_that_cannot_be_stopped(make_lab: MakeLab, effects: Effects) -> None:
    """XF3: a tool in a thread, which no cancel can stop, is waited for: its true outcome is recorded, and nothing
    happens after the run's end. Another team's activity that cannot hear a cancel is in doubt; the record says so."""
    begun, theirs, told, release = threading.Event(), asyncio.Event(), asyncio.Event(), threading.Event()
    over = asyncio.Event()

    async def stop(_context: ToolContext) -> None:
        told.set()

    @tool(on_cancel=stop)
    def wipe(target: str) -> str:
        """Delete a target."""
        begun.set()
        release.wait(30)
        effects.append(target)
        return "wiped"

    @activity.defn(name="pay")
    async def pay(_order: object) -> str:
        theirs.set()
        await over.wait()
        return "paid"

    paying = activity_tool("pay", input=Order)
    reply = Reply(call("wipe", {"target": "t"}, "c1"), call("pay", {"order": "7"}, "c2"))
    lab = await make_lab([Agent("desk", model="m", tools=[wipe, paying])], script=[reply], activities=[pay])
    run = await lab.start("desk")
    await asyncio.wait_for(asyncio.gather(asyncio.to_thread(begun.wait, 20), theirs.wait()), 20)
    await run.cancel("not needed")
    await asyncio.wait_for(told.wait(), 20)
    assert (await run.status()).status == "running"
    assert effects == []
    release.set()
    with pytest.raises(RunCancelledError):
        await run.result()
    over.set()
    assert effects == ["t"]
    [doubt] = [event async for event in run.events() if isinstance(event, InDoubt)]
    assert doubt.why.startswith("pay c2: cancelled")
    [output] = [event async for event in run.events() if isinstance(event, ToolOutput)]
    assert (output.call_id, output.output) == ("c1", "wiped")


async def test_a_cancel_withdraws_what_nested_agents_wait_for(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XF5: cancelling the run of an agent whose nested agent waits for a person withdraws its request; nothing runs."""
    front = Agent("front", model="m", tools=[gated(effects).as_tool()])
    script = [Reply(call("desk", {"input": "clean up"}, "n1")), WIPE]
    lab = await make_lab([front], script=script, max_cached_workflows=cache)
    run = await lab.start("front")
    request = await lab.next_request(run)
    assert request.agent_path == ["front", "desk"]
    await run.cancel("not needed")
    with pytest.raises(RunCancelledError, match="not needed"):
        await run.result()
    assert await run.pending() == []
    withdrawn = [event.request async for event in run.events() if isinstance(event, RequestWithdrawn)]
    assert withdrawn == [request.id]
    with pytest.raises(RunEndedError):
        await run.approve(request, decided_by="lead")
    assert effects == []


async def test_a_cancel_is_asked_for_once_however_often(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XF7: cancelled twice, a run ends once, with the first reason; cancelled when it is over, it says so each time."""
    begun, release = asyncio.Event(), asyncio.Event()

    @tool
    async def work() -> str:
        """Take its time to end."""
        effects.append("begun")
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await release.wait()
        return "never"

    lab = await make_lab(
        [Agent("desk", model="m", tools=[work])], script=[Reply(call("work", {}, "c1"))], max_cached_workflows=cache
    )
    run = await lab.start("desk")
    await asyncio.wait_for(begun.wait(), 30)
    assert [await run.cancel("first"), await run.cancel("second")] == [True, True]
    release.set()
    with pytest.raises(RunCancelledError) as cancelled:
        await run.result()
    assert cancelled.value.reason == "first"
    asked = [event.reason async for event in run.events() if isinstance(event, CancelRequested)]
    assert asked == ["first"]
    assert [await run.cancel("third"), await run.cancel("fourth")] == [False, False]
    with pytest.raises(RunEndedError, match=r"has ended \(cancelled\)"):
        await run.stop("too late")
    assert effects == ["begun"]
