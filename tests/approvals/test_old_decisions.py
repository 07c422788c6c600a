"""Fault row XB5, and what a reset or a new run of the same id could make of an old approval."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, ResetReapplyExcludeType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from handfast import Approve, Run
from handfast.activities.tool.lineage import Lineage
from handfast.errors import RequestClosedError, RunCancelledError, StaleDigestError, UnknownRequestError
from handfast.history.reader import history_of
from handfast.payloads.requests import Request
from handfast.testing import Lab, Reply, call
from handfast.workflows.driver.endings import RESET
from support.desk import DONE, desk
from support.evidence import events_of, logged
from support.labs import Effects, MakeLab
from support.long_runs import crossing


def wipe(*targets: str) -> Reply:
    """A reply that asks for each of *targets* to be wiped."""
    return Reply(*(call("wipe", {"target": target}, f"c{number}") for number, target in enumerate(targets, 1)))


async def refusal_of(lab: Lab, run: Run, request: Request) -> str:
    """The typed answer to a decision that is sent by workflow id, as any program could send it."""
    decision = {"id": request.id, "verdict": {"kind": "approve"}, "decided_by": "lead", "digest": request.digest}
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await lab.client.get_workflow_handle(run.id).execute_update("decide", decision)
    assert isinstance(refused.value.cause, ApplicationError)
    return refused.value.cause.type or ""


async def reset(lab: Lab, run: Run, task: int, without: Sequence[ResetReapplyExcludeType.ValueType] = ()) -> Run:
    """Let the server reset a run to just before its workflow task *task* (from 0) was completed."""
    completed = [
        event.event_id
        for event in await events_of(lab, run)
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    ]
    description = await lab.client.get_workflow_handle(run.id).describe()
    await lab.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=lab.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=run.id, run_id=description.run_id),
            reason="a test",
            workflow_task_finish_event_id=completed[task],
            request_id=uuid.uuid4().hex,
            reset_reapply_exclude_types=without,
        )
    )
    return lab.hf.run(run.id)


async def test_only_an_open_request_of_this_run_is_decided(make_lab: MakeLab, effects: Effects) -> None:
    """XB5: a decision for an unknown request, one that was executed, or one of another run gets a typed answer, and
    nothing runs by it; neither does a decision on one request with the digest of another."""
    lab = await make_lab([desk(effects)], script=[wipe("a", "b"), wipe("other"), DONE, DONE])
    run = await lab.start("desk")
    first, second = await lab.open_requests(run, 2)
    other = await lab.start("desk")
    foreign = await lab.next_request(other)
    with pytest.raises(StaleDigestError):
        await run.decide(first.id, Approve(), decided_by="lead", digest=second.digest)
    await run.approve(first, decided_by="lead")
    with pytest.raises(RequestClosedError) as executed:
        await run.approve(first, decided_by="another")
    assert executed.value.facts["closed_by"] == "lead"
    for stranger in (foreign, first.model_copy(update={"id": str(uuid.uuid4())})):
        with pytest.raises(UnknownRequestError):
            await run.approve(stranger, decided_by="lead")
    await run.reject(second, decided_by="lead")
    await run.result()
    await other.reject(foreign, decided_by="lead")
    await other.result()
    assert effects == ["wipe a"]


async def test_a_new_run_of_the_same_id_takes_no_decision_of_the_one_before(
    make_lab: MakeLab, effects: Effects
) -> None:
    """XB5: a decision on a request of the previous run, sent by workflow id, reaches the new run and is refused."""
    lab = await make_lab([desk(effects)], script=[wipe("a"), DONE, wipe("b"), DONE], replay=False)
    run = await lab.start("desk")
    before = await lab.next_request(run)
    await run.reject(before, decided_by="lead")
    await run.result()
    await lab.client.start_workflow("AgentRun", {"agent": "desk", "input": "go"}, id=run.id, task_queue=lab.task_queue)
    again = lab.watch(lab.hf.run(run.id))
    request = await lab.next_request(again)
    assert await refusal_of(lab, again, before) == "UnknownRequestError"
    await lab.client.get_workflow_handle(run.id).signal("approve", before.id)
    [refused] = await logged(lab, again, "refused", 1)
    assert refused.request == before.id
    assert (await again.pending())[0].id == request.id
    await again.reject(request, decided_by="lead")
    await again.result()
    assert effects == []


async def test_after_a_reset_an_old_approval_runs_nothing_again(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """XB5: a reset to after a request opened sends its approval again, for the same arguments: the effect is not
    repeated by it, but a person is asked, who is told of the reset, and may have it run again."""
    lab = await make_lab([desk(effects)], script=[wipe("a"), DONE, DONE], replay=False, max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await run.approve(request, decided_by="lead")
    await run.result()
    again = lab.watch(await reset(lab, run, 2))
    await logged(lab, again, "voided", 1)
    asked = await lab.next_request(again)
    assert effects == ["wipe a"]
    assert asked.id != request.id
    assert asked.arguments == {"target": "a"}
    assert (asked.facts or {})["changed"] == {"why": RESET, "request": request.id, "by": "lead"}
    await again.approve(asked, decided_by="boss")
    await again.result()
    assert effects == ["wipe a", "wipe a"]


async def test_a_reset_is_seen_from_the_fresh_history_that_follows_it(make_lab: MakeLab, effects: Effects) -> None:
    """XB5: where a run that was reset goes on in a fresh history before its call is started, an approval of the request
    from before does not repeat the effect: a person is asked, who is told of the reset."""
    lab = await make_lab([desk(effects)], script=[wipe("a"), DONE, DONE], replay=False)
    run = await lab.start("desk", segment_events=60)
    request = await lab.next_request(run)
    await run.approve(request, decided_by="lead")
    await run.result()
    messages = [
        ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL,
        ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE,
    ]
    again = lab.watch(await reset(lab, run, 2, messages))
    [waiting] = await lab.open_requests(again, 1)
    assert waiting.id == request.id
    await crossing(lab, again)
    await again.approve(request, decided_by="lead")
    await logged(lab, again, "voided", 1)
    asked = await lab.next_request(again)
    assert (asked.facts or {})["changed"] == {"why": RESET, "request": request.id, "by": "lead"}
    assert effects == ["wipe a"]
    await again.approve(asked, decided_by="boss")
    await again.result()
    assert effects == ["wipe a", "wipe a"]


async def test_a_run_that_is_cancelled_asks_nobody_about_its_reset(
    make_lab: MakeLab, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XB5: where a cancel comes while it is found out that an old approval is from before a reset, nobody is asked."""
    asked, cancelled = asyncio.Event(), asyncio.Event()

    async def was_reset(*_: object) -> bool:
        asked.set()
        await cancelled.wait()
        return True

    monkeypatch.setattr(Lineage, "was_reset", was_reset)
    lab = await make_lab([desk(effects)], script=[wipe("a")])
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    async with asyncio.timeout(30):
        await asked.wait()
        await lab.client.get_workflow_handle(run.id).cancel()
        async for event in history_of(lab.client.get_workflow_handle(run.id), wait=True):
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED:
                break
    cancelled.set()
    with pytest.raises(RunCancelledError):
        await run.result()
    assert (await run.status()).pending == 0
    assert [each.what for each in await logged(lab, run, "opened", 1)] == ["opened"]
    assert effects == []


async def test_after_a_reset_an_old_approval_releases_no_new_arguments(make_lab: MakeLab, effects: Effects) -> None:
    """XB5: a reset sends old approvals again, by update and by signal; where the model now asks for other things they
    release nothing."""
    lab = await make_lab([desk(effects)], script=[wipe("a", "b"), DONE, wipe("all", "everything"), DONE], replay=False)
    run = await lab.start("desk")
    first, second = await lab.open_requests(run, 2)
    await run.approve(first, decided_by="lead")
    await lab.client.get_workflow_handle(run.id).signal("approve", second.id)
    await run.result()
    assert sorted(effects) == ["wipe a", "wipe b"]
    again = lab.watch(await reset(lab, run, 0))
    requests = await lab.open_requests(again, 2)
    assert [each.arguments for each in requests] == [{"target": "all"}, {"target": "everything"}]
    [refused] = await logged(lab, again, "refused", 1)
    assert refused.request == second.id
    assert await refusal_of(lab, again, first) == "UnknownRequestError"
    for request in requests:
        await again.reject(request, decided_by="lead")
    await again.result()
    assert sorted(effects) == ["wipe a", "wipe b"]
