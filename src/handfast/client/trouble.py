"""Find out from the server why a run does not get on by itself: no worker is asked."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import WorkflowExecution as ExecutionName
from temporalio.api.enums.v1 import (
    EventType,
    PendingActivityState,
    TaskQueueType,
    VersioningBehavior,
    WorkflowTaskFailedCause,
)
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.exceptions import FailureError

from handfast.errors import HistoryUnreadableError, PayloadUnreadableError
from handfast.history.reader import flood_in_memo, requests_in_memo
from handfast.temporal.pollers import ACTIVITIES, WORKFLOWS, versions_polling
from handfast.temporal.search_attributes import AGENT

ATTEMPTS: Final = 4
"""Attempts of an activity from which on a person should know: the first few are what retries are for."""
OVERDUE_AFTER: Final = timedelta(seconds=10)
"""Time after a deadline within which a worker must have noticed."""
FLOOD_SHOWN_FOR: Final = timedelta(hours=1)
RECENT_EVENTS: Final = 50
_CAUSE: Final = "WORKFLOW_TASK_FAILED_CAUSE_"
_MESSAGE_LENGTH: Final = 400

_ROLL_BACK: Final = (
    "roll the workers back to the code that the run began with, or forward to a fix: it goes on by itself then, and "
    "what was decided meanwhile counts"
)

_RELIEVE: Final = (
    "the workers' machine is too slow, or has too much to do, for one step of this run: give it more CPU, or start "
    "another worker; it goes on by itself then"
)
_DEADLOCK: Final = "[TMPRL1101]"
"""Beginning of the SDK's message where a workflow did not yield within two seconds."""

_GIVE_KEY: Final = "give every worker the key ring that the run was written with: it goes on by itself then"

TroubleKind = Literal["task_fails", "overdue", "no_worker", "activity_paused", "activity_fails", "flood"]


@dataclass(frozen=True)
class Trouble:
    """A run that goes on, but does not get on, and what to do about it.

    Attributes:
        run: Its workflow id.
        run_id: Run id of its present history.
        kind: *task_fails*: workers fail on it, by a deploy that does not fit its history or a bug. *overdue*: a
            deadline has passed and no worker has noticed. *no_worker*: nobody polls a task queue that it needs.
            *activity_fails*: a tool or model call was tried again and again. *activity_paused*: by an operator.
            *flood*: somebody sends it more signals than it reads.
        since: When that began, as far as the server knows.
        attempt: Number of the attempt; 0 where nothing is tried.
        cause: The part that fails: Temporal's cause, an activity's type, a task queue.
        message: The last error message.
        remedy: The remedy, in one line.
    """

    run: str
    run_id: str
    workflow: str
    agent: str | None
    task_queue: str
    kind: TroubleKind
    since: datetime | None
    attempt: int
    cause: str
    message: str
    remedy: str

    def __str__(self) -> str:
        """Say it in one line."""
        tried = f"{self.cause}, attempt {self.attempt}: " if self.attempt else ""
        return f"{tried}{self.message}; {self.remedy}"


class Polled:
    """Knows which task queues are polled; asks the server once for each."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[tuple[str, int], frozenset[str]] = {}

    async def __call__(self, task_queue: str, kind: TaskQueueType.ValueType, version: str | None = None) -> bool:
        """Return True where a worker, of *version* if one is named, polls *task_queue* for tasks of that kind."""
        if (task_queue, kind) not in self._known:
            self._known[task_queue, kind] = await versions_polling(self._client, task_queue, kind)
        found = self._known[task_queue, kind]
        return bool(found) if version is None else version in found


async def trouble_of(
    client: Client, described: WorkflowExecutionDescription, polled: Polled | None = None, attempts: int = ATTEMPTS
) -> Trouble | None:
    """Find the gravest trouble of a run; None where it has none or has ended.

    Args:
        client: Connected.
        described: The run, as the server describes it now.
        polled: Shared among several runs, so that each task queue is asked about once.
        attempts: Number of an activity's attempts from which on they are trouble.
    """
    if described.close_time is not None:
        return None
    polled = polled or Polled(client)
    return (
        await _task_fails(client, described)
        or await _overdue(described)
        or await _no_worker(described, polled)
        or await _unpolled_activity(described, polled)
        or await activity_trouble(described, attempts)
        or await _flooded(described)
    )


async def activity_trouble(described: WorkflowExecutionDescription, attempts: int = ATTEMPTS) -> Trouble | None:
    """Find an activity that was paused, or that fails and is tried again."""
    for pending in described.raw_description.pending_activities:
        name, said = pending.activity_type.name, await _said(described, pending.last_failure)
        if pending.paused:
            message = pending.pause_info.manual.reason or "it was paused by an operator"
            remedy = f"`temporal activity unpause --workflow-id {described.id} --activity-id {pending.activity_id}`"
            return _trouble(
                described,
                "activity_paused",
                name,
                message,
                remedy,
                since=_time(pending.pause_info.pause_time),
                attempt=pending.attempt,
            )
        if pending.attempt >= attempts and pending.HasField("last_failure"):
            since = _time(pending.last_attempt_complete_time)
            return _trouble(
                described, "activity_fails", name, said, _retries(pending), since=since, attempt=pending.attempt
            )
    return None


async def _task_fails(client: Client, described: WorkflowExecutionDescription) -> Trouble | None:
    attempt = described.raw_description.pending_workflow_task.attempt
    if attempt < 2:
        return None
    failures = await _recent_failures(client, described)
    if not failures and attempt < ATTEMPTS:
        return None  # a worker was killed with the task in hand: the next one takes it
    cause, message, remedy = "WORKFLOW_TASK_TIMED_OUT", "workers take its tasks and do not answer in time", _RELIEVE
    if failures:
        failed = failures[0].workflow_task_failed_event_attributes
        cause = WorkflowTaskFailedCause.Name(failed.cause).removeprefix(_CAUSE)
        message, remedy = await _said(described, failed.failure), _ROLL_BACK
        if failed.failure.application_failure_info.type == PayloadUnreadableError.__name__:
            remedy = _GIVE_KEY
        elif _DEADLOCK in message:
            remedy = _RELIEVE
    since = failures[-1].event_time if failures else described.raw_description.pending_workflow_task.scheduled_time
    return _trouble(described, "task_fails", cause, message, remedy, since=_time(since), attempt=attempt)


async def _recent_failures(client: Client, described: WorkflowExecutionDescription) -> list[HistoryEvent]:
    """Read the failures of its workflow task since the last completed one, the newest first."""
    request = GetWorkflowExecutionHistoryReverseRequest(
        namespace=client.namespace,
        execution=ExecutionName(workflow_id=described.id, run_id=described.run_id),
        maximum_page_size=RECENT_EVENTS,
    )
    page = await client.workflow_service.get_workflow_execution_history_reverse(request)
    found: list[HistoryEvent] = []
    for event in page.history.events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            break
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            found.append(event)
    return found


async def _overdue(described: WorkflowExecutionDescription) -> Trouble | None:
    """Find a deadline that no worker has noticed: a worker that was killed counts as polling for another minute."""
    try:
        waiting = requests_in_memo(dict(await described.memo()))
    except HistoryUnreadableError:
        return None  # this client lacks the key: what else is wrong is said all the same
    due = sorted((each.deadline, each.id) for each in waiting if each.deadline is not None)
    if not due or due[0][0] + OVERDUE_AFTER > datetime.now(UTC):
        return None
    queue = described.task_queue
    message = f"the deadline of {due[0][1]} has passed, and no worker of the task queue {queue} has noticed"
    return _trouble(described, "overdue", queue, message, _start(queue), since=due[0][0])


async def _no_worker(described: WorkflowExecutionDescription, polled: Polled) -> Trouble | None:
    queue, version = described.task_queue, _pinned_to(described)
    if not await polled(queue, WORKFLOWS):
        return _trouble(described, "no_worker", queue, f"no worker polls the task queue {queue}", _start(queue))
    if version is None or await polled(queue, WORKFLOWS, version):
        return None
    message = f"it is pinned to version {version}, of which no worker polls the task queue {queue}"
    remedy = (
        f"start workers of it, or move the run on: `temporal workflow update-options --workflow-id {described.id} "
        "--versioning-override-behavior auto_upgrade`"
    )
    return _trouble(described, "no_worker", version, message, remedy)


def _pinned_to(described: WorkflowExecutionDescription) -> str | None:
    """Return the version, as ``deployment.build``, whose workers alone get the run's tasks."""
    versioning = described.raw_description.workflow_execution_info.versioning_info
    if versioning.behavior != VersioningBehavior.VERSIONING_BEHAVIOR_PINNED:
        return None
    return f"{versioning.deployment_version.deployment_name}.{versioning.deployment_version.build_id}"


async def _unpolled_activity(described: WorkflowExecutionDescription, polled: Polled) -> Trouble | None:
    """Find a call that waits on a task queue that nobody polls: a tool's own, or that of model calls."""
    for pending in described.raw_description.pending_activities:
        queue = pending.activity_options.task_queue.name
        waits = pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
        if waits and queue and not await polled(queue, ACTIVITIES):
            message = f"{pending.activity_type.name} waits, and no worker polls the task queue {queue}"
            return _trouble(described, "no_worker", queue, message, _start(queue), since=_time(pending.scheduled_time))
    return None


async def _flooded(described: WorkflowExecutionDescription) -> Trouble | None:
    """Signals that the run refused unread, as too many came at once; named for an hour."""
    try:
        flood = flood_in_memo(dict(await described.memo()))
    except HistoryUnreadableError:
        return None
    if flood is None or flood.at + FLOOD_SHOWN_FOR < datetime.now(UTC):
        return None
    names = ", ".join(f"{count:,} {name or 'of unknown names'}" for name, count in sorted(flood.refused.items()))
    message = f"more signals came at once than it reads; refused unread so far: {names}"
    remedy = (
        "find out who sends them (each stands in its history with an identity), and take the right to signal from "
        "them; the run goes on, and decisions by update count"
    )
    return _trouble(described, "flood", "signals", message, remedy, since=flood.at)


def _retries(pending: PendingActivityInfo) -> str:
    until = _time(pending.expiration_time)
    end = f" until {until:%Y-%m-%d %H:%M} UTC" if until is not None else ""
    return f"mend what it says; it is tried again{end}"


def _start(queue: str) -> str:
    return f"start one with `handfast worker MODULE --task-queue {queue}`: nothing is lost until then"


async def _said(described: WorkflowExecutionDescription, failure: Failure) -> str:
    """Read the message of a failure; encoded, where this client cannot decode it."""
    readable = Failure()
    readable.CopyFrom(failure)
    message = failure.message
    with suppress(Exception):  # a codec of the user's
        error = await described.data_converter.decode_failure(readable)
        message = error.message if isinstance(error, FailureError) else str(error)
    text = " ".join(message.split())
    return text if len(text) <= _MESSAGE_LENGTH else f"{text[:_MESSAGE_LENGTH]}…"


def _time(stamp: Timestamp) -> datetime | None:
    return stamp.ToDatetime(tzinfo=UTC) if stamp.seconds > 0 else None


def _trouble(
    described: WorkflowExecutionDescription,
    kind: TroubleKind,
    cause: str,
    message: str,
    remedy: str,
    *,
    since: datetime | None = None,
    attempt: int = 0,
) -> Trouble:
    return Trouble(
        run=described.id,
        run_id=described.run_id,
        workflow=described.workflow_type,
        agent=described.typed_search_attributes.get(AGENT),
        task_queue=described.task_queue,
        kind=kind,
        since=since,
        attempt=attempt,
        cause=cause,
        message=message,
        remedy=remedy,
    )
