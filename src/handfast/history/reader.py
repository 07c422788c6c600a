"""Read a run's Temporal history: requests that opened and closed, and how the run ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType, RetryState
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle
from temporalio.converter import DataConverter
from temporalio.service import RPCError

from handfast.errors import HistoryUnreadableError, PayloadInvalidError
from handfast.payloads.base import Undecodable
from handfast.payloads.requests import MEMO_FLOOD, MEMO_LOG, MEMO_REQUEST, Flood, Request, Transition
from handfast.temporal.rpc import is_lost_place


async def history_of(handle: WorkflowHandle[Any, Any], *, wait: bool) -> AsyncIterator[HistoryEvent]:
    """Yield the events of a run, each once.

    A busy server may lose the place up to which a reader has come (seen with the dev server under load): the history
    is then read from its start, and what was yielded is left out.

    Args:
        handle: The run.
        wait: Go on with events as they come, by long poll, until the run ends.

    Raises:
        RPCError: As the SDK raises it.
    """
    seen = 0
    while True:
        try:
            async for event in handle.fetch_history_events(wait_new_event=wait):
                if event.event_id > seen:
                    seen = event.event_id
                    yield event
        except RPCError as error:
            if not is_lost_place(error):
                raise
        else:
            return


async def result_of(handle: WorkflowHandle[Any, Any]) -> Any:
    """Wait for a run's result. The wait is a long poll of the history too: see `history_of`.

    Raises:
        RPCError: As the SDK raises it.
        WorkflowFailureError: The run ended in another way.
    """
    while True:
        try:
            return await handle.result()
        except RPCError as error:
            if not is_lost_place(error):
                raise


async def ledger_changes(
    event: HistoryEvent, converter: DataConverter
) -> tuple[list[Request], set[str], list[Transition]]:
    """Read the changes of the ledger from one event.

    Returns:
        Requests that opened, ids of those that closed, and the logged transitions.
    """
    match event.event_type:
        case EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED:
            fields = event.workflow_properties_modified_event_attributes.upserted_memo.fields
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:  # what was open where the history before it ended
            fields = event.workflow_execution_started_event_attributes.memo.fields
        case _:
            return [], set(), []
    if begins_again(event):
        return [], {key.removeprefix(MEMO_REQUEST) for key in fields if key.startswith(MEMO_REQUEST)}, []
    opened: list[Request] = []
    closed: set[str] = set()
    log: list[Transition] = []
    for key, payload in fields.items():
        if key == MEMO_LOG:
            entries = await _decode(payload, converter)
            if isinstance(entries, Undecodable):
                raise HistoryUnreadableError(entries.problem)
            log = [Transition.from_wire(entry) for entry in entries or []]
        elif key.startswith(MEMO_REQUEST):
            request = read_request(await _decode(payload, converter))
            if request is not None:
                opened.append(request)
    shown = {request.id for request in opened}
    closed = {
        step.request
        for step in log
        if step.what in ("decided", "edited", "expired", "withdrawn") and step.request and step.request not in shown
    }
    return sorted(opened, key=lambda request: request.order), closed, log


def requests_in_memo(memo: dict[str, Any]) -> list[Request]:
    """Read the open requests of a run from its memo, oldest first."""
    found = [read_request(value) for key, value in memo.items() if key.startswith(MEMO_REQUEST)]
    return sorted((request for request in found if request), key=lambda request: request.order)


def flood_in_memo(memo: dict[str, Any]) -> Flood | None:
    """Read from a run's memo how many signals it refused unread; None where there was no flood, or it is unreadable."""
    try:
        return Flood.from_wire(memo[MEMO_FLOOD]) if MEMO_FLOOD in memo else None
    except PayloadInvalidError:
        return None


def read_request(value: object) -> Request | None:
    """Read one memo value; None where it was cleared, or written by a version that we cannot read.

    Raises:
        HistoryUnreadableError: It is encrypted, and this client lacks the key.
    """
    if isinstance(value, Undecodable) and value.encrypted:
        raise HistoryUnreadableError(value.problem)
    if not isinstance(value, dict):
        return None
    try:
        return Request.from_wire(value)
    except PayloadInvalidError:
        return None


def cancel_reason(events: Sequence[HistoryEvent]) -> str:
    """Find the reason of a cancellation: the SDK's cancel command carries none, the request's event does."""
    for event in reversed(events):
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
            return event.workflow_execution_cancel_requested_event_attributes.cause
    return ""


async def _decode(payload: Payload, converter: DataConverter) -> Any:
    [value] = await converter.decode([payload])
    return value


def retried_as(event: HistoryEvent) -> str | None:
    """Return the run id of the history in which a retry policy begins again what *event* ended; None for others.

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
    """Tell a first event by which a retry policy begins again: nothing of what had failed is taken over."""
    return event.workflow_execution_started_event_attributes.attempt > 1
