"""A run as Temporal keeps it: a chain of histories, each of which ends where the next one begins.

Mostly a history was left for a fresh one; one that failed may be begun again by its retry policy.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHistoryEventFilterType,
)

from handfast.history.reader import begins_again, history_of, retried_as

_MAY_GO_ON: Final = (
    WorkflowExecutionStatus.CONTINUED_AS_NEW,
    WorkflowExecutionStatus.FAILED,
    WorkflowExecutionStatus.TIMED_OUT,
)


async def current(client: Client, workflow_id: str, first: str | None) -> WorkflowExecutionDescription:
    """Describe the history in which a run goes on now, or the one in which it ended.

    Args:
        client: Connected.
        workflow_id: The run's.
        first: Run id of its first history, so that a later run of the same id is not taken for it; None takes the
            newest.

    Raises:
        RPCError: As the SDK raises it.
    """
    newest = await client.get_workflow_handle(workflow_id).describe()
    begun = newest.raw_description.workflow_execution_info.first_run_id
    if first is None or first in (newest.run_id, begun):
        return newest
    described = await client.get_workflow_handle(workflow_id, run_id=first).describe()
    while described.status in _MAY_GO_ON:
        following = await _following(client, workflow_id, described.run_id)
        if following is None:
            break
        described = await client.get_workflow_handle(workflow_id, run_id=following).describe()
    return described


async def chain_of(
    client: Client, workflow_id: str, run_id: str, *, wait: bool
) -> AsyncIterator[tuple[str, HistoryEvent]]:
    """Yield the events of a history and of all that follow it, each with the run id of its own.

    Args:
        client: Connected.
        workflow_id: The run's.
        run_id: Run id of the history to begin with.
        wait: Go on with events as they come, by long poll, until the run ends.

    Raises:
        RPCError: As the SDK raises it.
    """
    at: str | None = run_id
    while at is not None:
        following: str | None = None
        async for event in history_of(client.get_workflow_handle(workflow_id, run_id=at), wait=wait):
            following = continued_as(event)
            yield at, event
        at = following


def continued_as(event: HistoryEvent) -> str | None:
    """Return the run id of the history that follows where *event* ends one; None for every other event."""
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
        return event.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return retried_as(event)


async def is_to_begin_again(client: Client, described: WorkflowExecutionDescription) -> bool:
    """Tell a history that a retry policy has begun, and in which no workflow task is done yet: its memo is a copy of
    the failed history's, and lists requests that nobody waits for.

    Raises:
        RPCError: As the SDK raises it.
    """
    if described.raw_description.workflow_execution_info.first_run_id in ("", described.run_id):
        return False
    handle = client.get_workflow_handle(described.id, run_id=described.run_id)
    async for event in handle.fetch_history_events(page_size=10):
        if event.event_id == 1 and not begins_again(event):
            return False
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            return False
    return True


async def _following(client: Client, workflow_id: str, run_id: str) -> str | None:
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    closing = WorkflowHistoryEventFilterType.CLOSE_EVENT
    [event] = [event async for event in handle.fetch_history_events(event_filter_type=closing)]
    return continued_as(event)
