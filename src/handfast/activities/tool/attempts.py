"""Finds out if an earlier attempt may have entered the tool's body.

The begun mark says so for a lost attempt, as long as nobody takes it away: an operator who unpauses or resets an
activity can have the server forget its heartbeats, and count its attempts from one again (seen with server 1.32, also
where the retry policy has one attempt only). What stays is that an attempt had ended, and when a lost one had started.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from temporalio import activity
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client
from temporalio.service import RPCError

from handfast.activities.tool.body import outcome
from handfast.definitions.tools.function_tool import Tool
from handfast.payloads.tool_call import Attempt, LostStart, ToolCall, ToolOutcome

LOOK_S: Final = 1.0
"""Time limit of a question to the server: no heartbeat is sent meanwhile."""
SILENT_FOR: Final = timedelta(seconds=6)
"""Longest life of an attempt without a heartbeat: twice its heartbeat timeout, as timers fire late under load."""
PAGE_EVENTS: Final = 200
MOST_PAGES: Final = 20


async def held_back(lost: Sequence[LostStart]) -> ToolOutcome | None:
    """Return the outcome of a call whose body an earlier attempt may have entered; None where this one may enter it.

    Args:
        lost: Starts of the same call that timed out without the mark.
    """
    info = activity.info()
    if info.attempt > 1 or info.heartbeat_details:
        return _unknown("an earlier attempt had begun")
    try:
        async with asyncio.timeout(LOOK_S):
            if info.current_attempt_scheduled_time > info.scheduled_time and await _ended_before():
                return _unknown("an earlier attempt had ended before the activity was unpaused or reset")
    except (RPCError, TimeoutError, LookupError):
        return _unknown("the activity was unpaused or reset, and the server did not say whether an attempt had ended")
    try:
        async with asyncio.timeout(LOOK_S):
            for start in lost:
                if await _lasted(start) > SILENT_FOR:
                    return _unknown("an earlier attempt had lasted longer than one that never begins")
    except (RPCError, TimeoutError, LookupError):  # the next start asks again: the run keeps what is lost
        return outcome("not_begun", reason="the server did not say how long an earlier attempt had lasted")
    return None


def _unknown(why: str) -> ToolOutcome:
    """Return a doubt about an earlier attempt, with the last words of its heartbeats."""
    earlier = Attempt.among(activity.info().heartbeat_details)
    ended = outcome("unknown", reason=why, known=earlier)
    return ended.model_copy(update={"worker": None if earlier is None else earlier.worker})


async def _ended_before() -> bool:
    """Return True where an attempt of this activity had ended before: the server knows that after a reset, too."""
    info = activity.info()
    handle = activity.client().get_workflow_handle(info.workflow_id or "", run_id=info.workflow_run_id)
    described = await handle.describe()
    for pending in described.raw_description.pending_activities:
        if pending.activity_id == info.activity_id:
            return pending.HasField("last_attempt_complete_time") or pending.HasField("last_failure")
    raise LookupError(f"activity {info.activity_id} is not pending")


async def _lasted(start: LostStart) -> timedelta:
    """Return the time from the start of a lost attempt to its timeout, by the server's clock."""
    ended: datetime | None = None
    async for event in _backwards(activity.client(), activity.info().workflow_id or "", start.run):
        timed_out = event.activity_task_timed_out_event_attributes
        if event.HasField("activity_task_timed_out_event_attributes") and timed_out.started_event_id == start.event:
            ended = event.event_time.ToDatetime()
        if event.event_id == start.event and ended is not None:
            return ended - event.event_time.ToDatetime()
    raise LookupError(f"event {start.event} is not in the history")


async def _backwards(client: Client, workflow_id: str, run_id: str) -> AsyncIterator[HistoryEvent]:
    request = GetWorkflowExecutionHistoryReverseRequest(
        namespace=client.namespace,
        execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
        maximum_page_size=PAGE_EVENTS,
    )
    for _ in range(MOST_PAGES):
        page = await client.workflow_service.get_workflow_execution_history_reverse(request)
        for event in page.history.events:
            yield event
        if not page.next_page_token:
            return
        request.next_page_token = page.next_page_token


def is_once(call: ToolCall, tool: Tool[..., Any]) -> bool:
    """Return True where the body may be entered once at most, by the plan or by the tool of today."""
    return "at_most_once" in (call.effect, tool.effect)


def unkept(call: ToolCall, tool: Tool[..., Any]) -> ToolOutcome | None:
    """Return the outcome of a call whose output guardrails this worker lacks; None where it lacks none."""
    if not call.output_guarded or tool.output_guardrails:
        return None
    why = "output guardrails are not there on this worker"
    if activity.info().attempt > 1:
        return outcome("unknown", reason=f"an earlier attempt may have run, and the tool's {why}")
    return outcome("error", output=f"Error: this call of {call.tool} was not run: its {why}")


def unprovable(call: ToolCall) -> ToolOutcome | None:
    """Return the outcome of a call whose proofs this worker has no keys for; None where it needs none."""
    return outcome("not_begun", reason="this worker has no keys to verify a decision with") if call.signed else None
