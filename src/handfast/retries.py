"""Workflows that their retry policy begins again: how the history that failed shows it, and the one that follows."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType, RetryState
from temporalio.api.history.v1 import HistoryEvent


def retried_as(event: HistoryEvent) -> str | None:
    """Run id of the history in which a retry policy begins again what *event* ended; None for every other event.

    The next run of a cron schedule is named there too, and goes on from none.
    """
    match event.event_type:
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
            failed = event.workflow_execution_failed_event_attributes
            state, following = failed.retry_state, failed.new_execution_run_id
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
            late = event.workflow_execution_timed_out_event_attributes
            state, following = late.retry_state, late.new_execution_run_id
        case _:
            return None
    return following or None if state == RetryState.RETRY_STATE_IN_PROGRESS else None


def begins_again(event: HistoryEvent) -> bool:
    """Whether a retry policy begins with *event* what had failed: of that, nothing is taken over."""
    return event.workflow_execution_started_event_attributes.attempt > 1
