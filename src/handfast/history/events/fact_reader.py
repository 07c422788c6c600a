"""Read the events of a Temporal history as facts: the only place where payloads are decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError, CancelledError

from handfast.encryption.converter import revealed
from handfast.errors import HistoryUnreadableError
from handfast.history.events.facts import (
    OWN,
    TURN_MARK,
    CancelAsked,
    Closed,
    ContinuedTo,
    Fact,
    Failed,
    Published,
    Received,
    Remembered,
    Returned,
    Scheduled,
    Started,
    TaskDone,
)
from handfast.history.reader import begins_again, retried_as
from handfast.payloads.base import Undecodable
from handfast.payloads.requests import MEMO_LOG, MEMO_REQUEST
from handfast.payloads.runs import OWN_WORKFLOWS
from handfast.temporal.search_attributes import STATUS

MESSAGES: Final = frozenset({"approve", "reject", "decide", "send", "stop", "cancel_call"})
"""Signals and updates that events tell of, without a host's prefix."""
_ACTIVITY: Final = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: "activity_task_completed_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED: "activity_task_failed_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: "activity_task_timed_out_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED: "activity_task_canceled_event_attributes",
}


def time_of(event: HistoryEvent) -> datetime:
    """Return the time at which the server recorded the event."""
    return event.event_time.ToDatetime(tzinfo=UTC)


@dataclass
class FactReader:
    """Reads the events of one segment in their order; one that is not ours, or unknown, gives no fact.

    Attributes:
        converter: A tolerant one, with the codec that the run was written with.
    """

    converter: DataConverter
    _prefix: str = ""
    _ours: dict[int, str] = field(default_factory=dict)

    async def read(self, event: HistoryEvent) -> Fact | None:
        """Return the fact that an event records; None where that concerns no agent.

        Raises:
            HistoryUnreadableError: Its payloads need a codec or a key that the client does not have.
        """
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
                return await self._started(event)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                return await self._scheduled(event)
            case kind if kind in _ACTIVITY:
                return await self._activity_ended(event, _ACTIVITY[kind])
            case EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED:
                return await self._memo(event)
            case EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
                return self._published(event)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
                signal = event.workflow_execution_signaled_event_attributes
                return await self._received(signal.signal_name, signal.input.payloads)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
                given = event.workflow_execution_update_accepted_event_attributes.accepted_request.input
                return await self._received(given.name, given.args.payloads)
            case EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
                return TaskDone()
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
                told = event.workflow_execution_cancel_requested_event_attributes.cause
                return CancelAsked(await revealed(told, self.converter))
            case _:
                return await self._closed(event)

    # --- the beginning and the end ---

    async def _started(self, event: HistoryEvent) -> Started:
        attributes = event.workflow_execution_started_event_attributes
        workflow = attributes.workflow_type.name
        self._prefix = "" if workflow in OWN_WORKFLOWS else OWN
        continued = bool(attributes.continued_execution_run_id) and not begins_again(event)
        wanted = workflow in OWN_WORKFLOWS or continued  # a user's own workflow carries its agents in its arguments
        arguments = await self._decode(attributes.input.payloads) if wanted else []
        memo = {
            key.removeprefix(MEMO_REQUEST): await self._one(payload)
            for key, payload in attributes.memo.fields.items()
            if key.startswith(MEMO_REQUEST)
        }
        status = attributes.search_attributes.indexed_fields.get(STATUS.name)
        return Started(
            workflow=workflow,
            arguments=arguments,
            memo=memo,
            status=_attribute(status),
            continued=continued,
        )

    async def _closed(self, event: HistoryEvent) -> Fact | None:
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
                result = event.workflow_execution_completed_event_attributes.result.payloads
                values = await self._decode(result) if not self._prefix else []
                return Closed("completed", value=values[0] if values else None)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
                failed = await self._run_failed(event.workflow_execution_failed_event_attributes.failure)
                return replace(failed, retried_as=retried_as(event))
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
                return Closed("cancelled")
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
                reason = event.workflow_execution_terminated_event_attributes.reason
                return Closed("failed", kind="Terminated", message=reason, cut_off=True)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
                late = "the workflow's own timeout passed"
                return Closed("failed", kind="TimedOut", message=late, cut_off=True, retried_as=retried_as(event))
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
                attributes = event.workflow_execution_continued_as_new_event_attributes
                return ContinuedTo(attributes.new_execution_run_id)
        return None

    async def _run_failed(self, failure: Failure) -> Closed:
        error = await self._failure(failure)
        if isinstance(error, ApplicationError):
            kind = error.type or "ApplicationError"
            return Closed("failed", kind=kind, message=error.message, details=tuple(error.details))
        return Closed("failed", kind=type(error).__name__, message=str(error))

    # --- activities ---

    async def _scheduled(self, event: HistoryEvent) -> Scheduled | None:
        attributes = event.activity_task_scheduled_event_attributes
        kind = attributes.activity_type.name
        summary = ""
        if not kind.startswith(OWN):
            if not event.user_metadata.HasField("summary"):
                return None
            summary = str(await self._one(event.user_metadata.summary))
            if TURN_MARK not in summary:
                return None
        values = await self._decode(attributes.input.payloads)
        value = values[0] if values else None
        if kind.startswith(OWN):
            _own(value, "an activity's input")
        self._ours[event.event_id] = kind
        return Scheduled(kind, value, summary)

    async def _activity_ended(self, event: HistoryEvent, name: str) -> Returned | Failed | None:
        attributes = getattr(event, name)
        scheduled = attributes.scheduled_event_id
        kind = self._ours.pop(scheduled, None)
        if kind is None:
            return None
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            values = await self._decode(attributes.result.payloads)
            value = values[0] if values else None
            return Returned(scheduled, _own(value, "an activity's result") if kind.startswith(OWN) else value)
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
            return Failed(scheduled, CancelledError())
        return Failed(scheduled, await self._failure(attributes.failure))

    # --- memo, search attributes, signals, updates ---

    async def _memo(self, event: HistoryEvent) -> Remembered:
        fields = event.workflow_properties_modified_event_attributes.upserted_memo.fields
        log: list[Any] = []
        requests: dict[str, Any] = {}
        for key, payload in fields.items():
            if key == MEMO_LOG:
                entries = _own(await self._one(payload), "what became of a request")
                log = entries if isinstance(entries, list) else []
            elif key.startswith(MEMO_REQUEST):
                requests[key.removeprefix(MEMO_REQUEST)] = await self._one(payload)
        return Remembered(requests, log)

    def _published(self, event: HistoryEvent) -> Published | None:
        fields = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
        status = _attribute(fields.get(STATUS.name))
        return None if status is None else Published(status)

    async def _received(self, name: str, payloads: Sequence[Payload]) -> Received | None:
        plain = name.removeprefix(self._prefix)
        if plain not in MESSAGES or not name.startswith(self._prefix):
            return None
        return Received(plain, await self._decode(payloads))

    # --- payloads ---

    async def _one(self, payload: Payload) -> Any:
        [value] = await self._decode([payload])
        return value

    async def _decode(self, payloads: Sequence[Payload]) -> list[Any]:
        try:
            return list(await self.converter.decode(list(payloads)))
        except Exception as error:  # a codec of the user's, with an error of its own
            raise HistoryUnreadableError(type(error).__name__) from error

    async def _failure(self, failure: Failure) -> BaseException:
        try:
            return await self.converter.decode_failure(failure)
        except Exception as error:  # likewise
            raise HistoryUnreadableError(type(error).__name__) from error


def _own(value: Any, what: str) -> Any:
    """Decode what our own workers wrote, as plain JSON.

    Raises:
        HistoryUnreadableError: It is not: a key is missing here, or somebody has changed it.
    """
    if isinstance(value, Undecodable):
        raise HistoryUnreadableError(f"{what} ({value.problem})")
    return value


def _attribute(payload: Payload | None) -> str | None:
    """Decode a keyword, which no codec touches: the server reads it."""
    if payload is None:
        return None
    text = payload.data.decode(errors="replace").strip('"')
    return text or None
