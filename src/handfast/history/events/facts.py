"""Facts: the events of a Temporal history, decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from handfast.payloads.json_profile import JsonObject
from handfast.workflows.tasks.await_activity import Ending, cause_ending

OWN: Final = "handfast."
TURN_MARK: Final = " · turn "
"""In the summary of every activity that runs a call."""


@dataclass(frozen=True)
class Started:
    """The segment began.

    Attributes:
        arguments: None of a user's own workflow, unless it goes on.
        continued: True where it goes on from another segment.
    """

    workflow: str
    arguments: list[Any]
    memo: dict[str, Any]
    status: str | None
    continued: bool


@dataclass(frozen=True)
class Scheduled:
    """An activity was scheduled."""

    type: str
    argument: object
    summary: str


@dataclass(frozen=True)
class Returned:
    """An activity returned."""

    scheduled: int
    value: object


@dataclass(frozen=True)
class Failed:
    """An activity failed, timed out, or was cancelled."""

    scheduled: int
    cause: BaseException

    def ending(self, activity: str) -> Ending:
        """The outcome of the activity as the workflow takes it."""
        return cause_ending(activity, self.cause)


@dataclass(frozen=True)
class Remembered:
    """The memo was changed: requests by id, None for closed ones, and entries of the ledger's log."""

    requests: dict[str, Any]
    log: list[Any]


@dataclass(frozen=True)
class Published:
    """The search attribute of the run's status was changed."""

    status: str


@dataclass(frozen=True)
class Received:
    """A signal came, or an update was accepted."""

    name: str
    arguments: list[Any]


@dataclass(frozen=True)
class TaskDone:
    """A workflow task is done: the workflow has taken in all events before it, and its commands follow."""


@dataclass(frozen=True)
class CancelAsked:
    """The cancellation of the run was requested."""

    reason: str


@dataclass(frozen=True)
class Closed:
    """The segment ended, and the run with it, unless it is retried.

    Attributes:
        kind: Type of the failure, where it failed.
        cut_off: True where it was ended from outside.
        retried_as: Run id of the segment in which its retry policy begins it again: the run has not ended.
    """

    status: str
    value: object = None
    kind: str | None = None
    message: str | None = None
    details: Sequence[Any] = ()
    cut_off: bool = False
    retried_as: str | None = None


@dataclass(frozen=True)
class ContinuedTo:
    """The segment ended, and the run goes on in another one."""

    run_id: str


Fact = (
    Started
    | Scheduled
    | Returned
    | Failed
    | Remembered
    | Published
    | Received
    | TaskDone
    | CancelAsked
    | Closed
    | ContinuedTo
)


def as_object(value: object) -> JsonObject:
    """Return a decoded JSON object; an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}
