"""Scenario rows K: cancellation is workflow cancellation."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from handfast import Agent, Handfast, Receipt, Run, tool
from handfast.errors import RequestClosedError, RunCancelledError, RunEndedError
from handfast.history.reader import history_of, ledger_changes
from handfast.payloads.events import RunFinished, ToolCancelled, ToolOutput
from handfast.payloads.json_profile import JsonObject
from handfast.testing import Gate, Hang, Lab, Reply, call, text
from support.evidence import events_of
from support.gated import gated
from support.labs import Effects, MakeLab

CANCELLED = "This call was cancelled before it finished."


async def transcript(lab: Lab, run: Run) -> list[JsonObject]:
    """All items of a run's conversation."""
    page = await lab.client.get_workflow_handle(run.id).query("transcript", {})
    return [item for block in page["blocks"] for item in block["items"]]


def outputs_of(items: list[JsonObject]) -> list[tuple[Any, Any]]:
    """The call outputs among *items*, in their order."""
    return [(item["call_id"], item["output"]) for item in items if item["type"] == "function_call_output"]


async def closings(lab: Lab, run: Run, request: str) -> list[str]:
    """What closed a request, in the run's log: one transition."""
    steps = [await ledger_changes(event, lab.client.data_converter) for event in await events_of(lab, run)]
    closing = ("decided", "withdrawn", "expired")
    return [each.what for _, _, log in steps for each in log if each.request == request and each.what in closing]


async def logged_end_of(lab: Lab, run: Run, activity: str) -> None:
    """Wait until an activity of that type has completed in the history."""
    scheduled = 0
    async with asyncio.timeout(30):
        async for event in history_of(lab.client.get_workflow_handle(run.id), wait=True):
            if event.activity_task_scheduled_event_attributes.activity_type.name == activity:
                scheduled = event.event_id
            if scheduled and event.activity_task_completed_event_attributes.scheduled_event_id == scheduled:
                return
    raise AssertionError(f"{run.id} ended before {activity} did")


async def event_types(lab: Any, run: Any) -> list[int]:
    """The types of a run's history events."""
    return [event.event_type async for event in lab.client.get_workflow_handle(run.id).fetch_history_events()]


async def test_cancel_closes_the_model_call_and_ends_the_run(make_lab: MakeLab, cache: int) -> None:
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


async def test_early_late_and_repeated_cancels_are_harmless(make_lab: MakeLab, cache: int) -> None:
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


async def test_a_soft_stop_lets_the_turn_finish(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """K2: told to stop during a model call, a run takes its reply, runs its tools, and makes no further model call."""

    @tool(effect="read_only")
    async def look(check: str) -> str:
        """Look at something."""
        effects.append(f"look {check}")
        return f"{check} is fine"

    reply = Reply(text("I will look."), call("look", {"check": "fans"}, "c1"), call("look", {"check": "disks"}, "c2"))
    lab = await make_lab(
        [Agent("desk", model="m", tools=[look])], script=[Gate("thinking", reply)], max_cached_workflows=cache
    )
    run = await lab.start("desk", "go")
    await lab.model.wait_for_request(1)
    assert await run.cancel("enough", mode="after_turn")
    await run.stop("enough")  # told twice, it is told once
    lab.model.open("thinking")
    result = await run.result()
    assert (result.output, result.stopped, result.turns) == ("I will look.", "enough", 1)
    assert result.usage.requests == 1
    assert sorted(effects) == ["look disks", "look fans"]
    assert outputs_of(await transcript(lab, run)) == [("c1", "fans is fine"), ("c2", "disks is fine")]
    assert len(lab.model.requests) == 1
    assert await run.cancel(mode="after_turn") is False
    with pytest.raises(RunEndedError):
        await run.stop()


async def test_a_cancel_during_parallel_tools_leaves_a_valid_history(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """K4: what finished keeps its output, what did not says that it was cancelled; a new run can go on from there."""
    started, looked = asyncio.Event(), asyncio.Event()

    @tool(effect="read_only")
    async def look() -> str:
        """Look, at once."""
        looked.set()
        return "fine"

    @tool
    async def work() -> str:
        """Work until cancelled."""
        started.set()
        await asyncio.Event().wait()
        return "never"

    @tool(approval=True)
    async def wipe() -> str:
        """Delete something."""
        effects.append("wiped")
        return "wiped"

    script = [Reply(call("look", {}, "c1"), call("work", {}, "c2"), call("wipe", {}, "c3")), Reply(text("done"))]
    lab = await make_lab(
        [Agent("desk", model="m", tools=[look, work, wipe])], script=script, max_cached_workflows=cache
    )
    run = await lab.start("desk", "go")
    await asyncio.wait_for(asyncio.gather(started.wait(), looked.wait()), 20)
    await lab.next_request(run)
    await logged_end_of(lab, run, "handfast.tool.look")
    await run.cancel("not needed")
    with pytest.raises(RunCancelledError):
        await run.result()
    left = await transcript(lab, run)
    assert outputs_of(left) == [("c1", "fine"), ("c2", CANCELLED), ("c3", CANCELLED)]
    again = await lab.hf.start("desk", [*left, {"type": "message", "role": "user", "content": "go on"}])
    assert (await lab.watch(again).result()).output == "done"
    assert lab.model.violations == []
    assert effects == []


@pytest.mark.quick
async def test_cancel_withdraws_what_is_pending(make_lab: MakeLab, effects: Effects, cache: int) -> None:
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
    assert not [key for key in await description.memo() if key.startswith("handfast.request.")]
    with pytest.raises(RunEndedError, match="cancelled"):
        await run.approve(request, decided_by="lead")
    assert effects == []


@pytest.mark.parametrize("first", ["approve", "cancel"])
async def test_a_cancel_and_an_approval_in_one_task_have_one_order(
    make_lab: MakeLab, effects: Effects, cache: int, first: str
) -> None:
    """K10: stored together while no worker ran, the two are recorded in one order, and the tool runs once at most."""
    lab = await make_lab([gated(effects)], script=[Reply(call("wipe", {"target": "t"}))], max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.stop_worker()
    handle = lab.client.get_workflow_handle(run.id)
    for what in (first, "cancel" if first == "approve" else "approve"):
        if what == "approve":
            await handle.signal("approve", {"id": request.id, "decided_by": "lead"})
        else:
            await run.cancel("not needed")
    await lab.start_worker()
    with pytest.raises(RunCancelledError):
        await run.result()
    closed = await closings(lab, run, request.id)
    assert closed in (["decided"], ["withdrawn"])
    assert effects in ([], ["t"] if closed == ["decided"] else [])


async def test_a_cancel_racing_with_an_approval_tells_the_truth(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """K10: sent at the same moment, either the approval has its receipt and is recorded, or it is told that it lost."""
    lab = await make_lab(
        [gated(effects)], script=[Reply(call("wipe", {"target": f"{n}"})) for n in range(4)], max_cached_workflows=cache
    )
    for _ in range(4):
        run = await lab.start("desk")
        request = await lab.next_request(run)
        approving = asyncio.create_task(run.approve(request, decided_by="lead"))
        cancelling = asyncio.create_task(run.cancel("not needed"))
        told, cancelled = await asyncio.gather(approving, cancelling, return_exceptions=True)
        assert cancelled is True
        with pytest.raises(RunCancelledError):
            await run.result()
        closed = await closings(lab, run, request.id)
        assert closed == (["decided"] if isinstance(told, Receipt) else ["withdrawn"])
        assert isinstance(told, Receipt | RunEndedError | RequestClosedError)
    assert len(effects) == len(set(effects))


async def test_any_process_can_cancel_by_id_with_a_reason(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """K8: another client, knowing the id only, cancels the run; everyone who asks reads the reason."""
    lab = await make_lab([gated(effects)], script=[Reply(call("wipe", {"target": "t"}))], max_cached_workflows=cache)
    run = await lab.start("desk", id=f"k8-{lab.task_queue}")
    await lab.next_request(run)
    other = Handfast(await Client.connect(lab.client.service_client.config.target_host))
    assert await other.run(run.id).cancel("the office closes")
    with pytest.raises(RunCancelledError) as cancelled:
        await other.run(run.id).result()
    assert cancelled.value.reason == "the office closes"


@pytest.mark.parametrize("effect", ["at_most_once", "read_only"])
async def test_a_running_tool_is_cancelled_within_about_a_second(
    make_lab: MakeLab, effects: Effects, effect: Any, cache: int
) -> None:
    """XF2: a running tool sees its cancellation about a second after it was asked for, on a stock worker, and the
    record says that it was stopped."""
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
    assert [event.tool async for event in run.events() if isinstance(event, ToolCancelled)] == ["work"]
    assert [output for _, output in outputs_of(await transcript(lab, run))] == [CANCELLED]


async def test_what_finishes_despite_a_cancel_is_kept(make_lab: MakeLab, effects: Effects) -> None:
    """XF6: a tool that swallows its cancel and finishes did take effect: the run ends as cancelled, with the result
    recorded."""
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
    assert effects == ["finished"]
    assert [output for _, output in outputs_of(await transcript(lab, run))] == ["finished all the same"]
    ended = [event async for event in run.events() if isinstance(event, ToolOutput | RunFinished)]
    assert [(event.type, event.output) for event in ended] == [
        ("tool_output", "finished all the same"),
        ("run_finished", None),
    ]
    assert (await run.status()).status == "cancelled"
