"""Scenario rows K: cancellation is workflow cancellation."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from conftest import Effects, MakeLab
from holdfast import Agent, Holdfast, tool
from holdfast.errors import RunCancelledError, RunEndedError
from holdfast.testing import Hang, Reply, call, text


def gated(effects: Effects) -> Agent:
    """An agent whose one tool is gated."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    return Agent("desk", model="m", tools=[wipe])


async def event_types(lab: Any, run: Any) -> list[int]:
    """The types of a run's history events."""
    return [event.event_type async for event in lab.client.get_workflow_handle(run.id).fetch_history_events()]


async def test_k1_cancel_closes_the_model_call_and_ends_the_run(make_lab: MakeLab, cache: int) -> None:
    """K1: a cancel during a model call closes its connection within about a second; no further call is made."""
    lab = await make_lab([Agent("desk", model="m")], script=[Hang()], max_cached_workflows=cache)
    run = await lab.start("desk")
    await lab.model.wait_for_request(1)
    before = time.monotonic()
    assert await run.cancel("changed my mind")
    await lab.model.wait_for_disconnect(1)
    with pytest.raises(RunCancelledError, match="changed my mind"):
        await run.result()
    assert time.monotonic() - before < 4
    assert len(lab.model.requests) == 1


async def test_k1_early_late_and_repeated_cancels_are_harmless(make_lab: MakeLab, cache: int) -> None:
    """K1: cancelling before the first task, twice, and after the end leaves one clean cancelled run."""
    lab = await make_lab([Agent("desk", model="m")], script=[Hang()], max_cached_workflows=cache)
    await lab.stop_worker()
    run = await lab.start("desk")
    assert await run.cancel("first")
    assert await run.cancel("second")
    await lab.start_worker()
    with pytest.raises(RunCancelledError) as cancelled:
        await run.result()
    assert cancelled.value.reason == "first"
    assert await run.cancel("third") is False
    assert lab.model.requests == []
    assert (await run.status()).status == "cancelled"


async def test_k3_cancel_withdraws_what_is_pending(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """K3: a cancel withdraws the approval; a late decision is told that nothing waits any longer, and nothing runs."""
    lab = await make_lab([gated(effects)], script=[Reply(call("wipe", {"target": "t"}))], max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await run.cancel("not needed")
    with pytest.raises(RunCancelledError, match="not needed"):
        await run.result()
    assert await run.pending() == []
    description = await lab.client.get_workflow_handle(run.id).describe()
    assert description.status is WorkflowExecutionStatus.CANCELED
    assert not [key for key in await description.memo() if key.startswith("holdfast.request.")]
    with pytest.raises(RunEndedError, match="cancelled"):
        await run.approve(request, decided_by="lead")
    assert effects == []


async def test_k8_any_process_can_cancel_by_id_with_a_reason(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """K8: another client, knowing the id only, cancels the run; everyone who asks reads the reason."""
    lab = await make_lab([gated(effects)], script=[Reply(call("wipe", {"target": "t"}))], max_cached_workflows=cache)
    run = await lab.start("desk", id=f"k8-{lab.task_queue}")
    await lab.next_request(run)
    other = Holdfast(await Client.connect(lab.client.service_client.config.target_host))
    assert await other.run(run.id).cancel("the office closes")
    with pytest.raises(RunCancelledError) as cancelled:
        await other.run(run.id).result()
    assert cancelled.value.reason == "the office closes"


@pytest.mark.parametrize("effect", ["at_most_once", "read_only"])
async def test_a_running_tool_is_cancelled_within_about_a_second(
    make_lab: MakeLab, effects: Effects, effect: Any, cache: int
) -> None:
    """A running tool sees its cancellation about a second after it was asked for, on a stock worker."""
    started = asyncio.Event()
    stopped_at: list[float] = []

    @tool(effect=effect)
    async def work() -> str:
        """Work until cancelled."""
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped_at.append(time.monotonic())
        return "never"

    lab = await make_lab(
        [Agent("desk", model="m", tools=[work])], script=[Reply(call("work"))], max_cached_workflows=cache
    )
    run = await lab.start("desk")
    await asyncio.wait_for(started.wait(), 20)
    asked_at = time.monotonic()
    await run.cancel("stop it")
    with pytest.raises(RunCancelledError):
        await run.result()
    assert len(stopped_at) == 1
    assert stopped_at[0] - asked_at < 2.5


async def test_what_finishes_despite_a_cancel_is_kept(make_lab: MakeLab, effects: Effects) -> None:
    """A tool that finishes although it was cancelled did take effect, and the transcript says so."""
    started = asyncio.Event()

    @tool
    async def stubborn() -> str:
        """Finish in any case."""
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            effects.append("finished")
        return "finished all the same"

    lab = await make_lab([Agent("desk", model="m", tools=[stubborn])], script=[Reply(call("stubborn"), text("x"))])
    run = await lab.start("desk")
    await asyncio.wait_for(started.wait(), 20)
    await run.cancel()
    with pytest.raises(RunCancelledError):
        await run.result()
    page = await lab.client.get_workflow_handle(run.id).query("transcript", {})
    assert effects == ["finished"]
    assert "call_1" in str(page)
