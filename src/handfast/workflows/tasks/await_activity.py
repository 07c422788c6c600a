"""The one way in which our workflows await an activity, and what its ending means."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeAlias, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, TimeoutError, TimeoutType

from handfast.errors import PayloadInvalidError
from handfast.payloads.base import UNREADABLE
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.tool_call import Attempt
from handfast.payloads.usage import Spent
from handfast.workflows.tasks.marks import TaskMarks
from handfast.workflows.tasks.unread import require_readable

BY_ANY_WORKER: Final[ContextVar[bool]] = ContextVar("BY_ANY_WORKER", default=False)
"""True while an activity is started that is left to the task queue: read by the worker's interceptor, as
`workflow.start_activity` has no such argument (SDK 1.35)."""

NOT_REGISTERED: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "NotFoundError": (
        ("Activity function {} ", "Activity {} "),
        "is not registered on this worker, available activities",
    ),
    "ActivityNotRegisteredError": (("unable to find activityType={}. ",), "Supported types"),
    "java.lang.IllegalArgumentException": (('Activity Type "{}" ',), "is not registered with a worker. Known types"),
}
"""Answers of a worker that does not know an activity: by the type of its failure how the text begins, with the
activity's own type, and what it holds further. Python and TypeScript, .NET and Ruby; Go; Java. As narrow as that,
because an activity that did its work may raise a NotFoundError of its own, and must not be run again for it."""


Value_co = TypeVar("Value_co", covariant=True)


@dataclass(frozen=True)
class Done(Generic[Value_co]):
    """The activity answered."""

    value: Value_co


@dataclass(frozen=True)
class Failed:
    """The activity failed.

    Attributes:
        type: Our error type, or the kind of timeout.
        begun: A timed-out attempt had beaten, which it does only in the tool's body. What its details say does not
            matter: they may come back in a form that cannot be read.
        under: Our error type of the last attempt, where a timeout over all attempts ended it.
        raised: The activity's own code, or its worker, said so.
        not_registered: The worker that took it does not know this activity.
        spent: What a model call has cost although its reply could not be used.
        known: What the heartbeats of a timed-out attempt said of it, where they were a tool's of ours.
        started: The event by which the attempt started, where it had.
        worker: Identity of the worker that the attempt was given to, where the server says so.
    """

    type: str
    message: str
    begun: bool = False
    under: str | None = None
    timed_out: bool = False
    raised: bool = False
    not_registered: bool = False
    spent: Spent | None = None
    known: Attempt | None = None
    worker: str | None = None
    started: int | None = None


@dataclass(frozen=True)
class Cancelled:
    """The activity ended because we cancelled it."""


Ending: TypeAlias = Done[object] | Failed | Cancelled


def start_activity(
    name: str,
    arg: JsonObject | None,
    summary: str,
    config: workflow.ActivityConfig,
    marks: TaskMarks,
    *,
    by_any_worker: bool = False,
) -> workflow.ActivityHandle[Any]:
    """Start an activity by its wire name, with one argument or (None) without.

    Args:
        name: Its type.
        arg: Its argument.
        summary: What Temporal's web page shows of it.
        config: Its budget.
        marks: The workflow's.
        by_any_worker: The task queue hands it out. Otherwise the worker that has the run in its cache may take it at
            once, which is faster, and which is wrong where that worker has just said that it does not know it.
    """
    marks.note_command()
    told = BY_ANY_WORKER.set(by_any_worker)
    handle = workflow.start_activity(
        name, args=[] if arg is None else [arg], **workflow.ActivityConfig(**{**config, "summary": summary})
    )
    BY_ANY_WORKER.reset(told)
    return handle


async def await_activity(handle: workflow.ActivityHandle[Any], marks: TaskMarks) -> Ending:
    """Wait for an activity and tell its endings apart. Cancellation of the waiting task propagates.

    Raises:
        PayloadUnreadableError: Its answer is encrypted, and cannot be read here: the workflow task is tried again.
    """
    try:
        value = await handle
    except ActivityError as error:
        marks.note_input()
        return ending_of(error)
    marks.note_input()
    require_readable([value])
    return Done(value)


def ending_of(error: ActivityError) -> Ending:
    """Tell why an activity failed."""
    ending = cause_ending(error.activity_type, error.cause, str(error))
    if not isinstance(ending, Failed):
        return ending
    return replace(ending, worker=error.identity or None, started=error.started_event_id or None)


def cause_ending(activity: str, cause: BaseException | None, told: str = "") -> Ending:
    """Tell why an activity failed, from what its failure was caused by; *told* stands in where nothing was."""
    if isinstance(cause, CancelledError):
        return Cancelled()
    if isinstance(cause, TimeoutError):
        kind = cause.type or TimeoutType.START_TO_CLOSE
        under = cause.cause
        last = f": {under}" if under is not None else ""
        return Failed(
            type=f"Timeout{kind.name.title().replace('_', '')}",
            message=f"{activity} timed out ({kind.name.lower().replace('_', ' ')}){last}",
            begun=bool(cause.last_heartbeat_details),
            under=under.type if isinstance(under, ApplicationError) else None,
            timed_out=True,
            known=Attempt.among(cause.last_heartbeat_details),
        )
    if isinstance(cause, ApplicationError):
        text = cause.message
        return Failed(
            type=cause.type or "ApplicationError",
            message=text,
            raised=True,
            not_registered=_is_unknown(activity, cause.type, text) or _without_key(activity, cause),
            spent=_spent(cause),
        )
    return Failed(type=type(cause).__name__ if cause else "ActivityError", message=str(cause or told))


def _is_unknown(activity: str, kind: str | None, text: str) -> bool:
    """Return whether a failure is a worker's own: it does not know the activity, and has run nothing."""
    begins, further = NOT_REGISTERED.get(kind or "", ((), ""))
    return text.startswith(tuple(each.format(activity) for each in begins)) and further.lower() in text.lower()


def _without_key(activity: str, cause: ApplicationError) -> bool:
    """Return whether a worker could not decrypt what it was given, and has run nothing."""
    return activity.startswith("handfast.") and cause.type == UNREADABLE


def _spent(error: ApplicationError) -> Spent | None:
    """Return what was spent, by the failure's detail: read by hand, as user code fails with details of its own."""
    try:
        return Spent.from_wire(error.details[0]) if error.details else None
    except PayloadInvalidError:
        return None
