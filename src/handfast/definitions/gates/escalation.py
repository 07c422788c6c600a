"""Deadlines, reminders and escalations of a request that nobody decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from handfast.definitions.checks import a_kind, listed
from handfast.errors import DefinitionError
from handfast.payloads.people import APPROVER_CHARACTERS, GROUP, MOST_APPROVERS, is_group, is_reviewer, person

__all__ = ["Escalation"]

T = TypeVar("T")

LONGEST_DEADLINE: Final = timedelta(days=3650)
MOST_REMINDERS: Final = 10
MOST_ESCALATIONS: Final = 5


@dataclass(frozen=True, slots=True)
class Escalation:
    """One step of ``Approval(escalate=…)``: after a while, further people may decide.

    Attributes:
        after: Time after the request opened. At most ten years.
        approvers: People by name, groups as ``group:managers``, who may decide too from then on. Nobody loses the right
            to decide.
    """

    after: timedelta
    approvers: Sequence[str]

    def __post_init__(self) -> None:
        check_after("Escalation", "after", self.after)
        object.__setattr__(self, "approvers", checked_approvers("Escalation", self.approvers))
        if not self.approvers:
            raise DefinitionError("Escalation", "approvers is empty; name who may decide from then on")


def check_after(subject: str, name: str, after: object) -> None:
    """Check a time that counts from the opening of a request.

    Raises:
        DefinitionError: It is no timedelta, not positive, or more than ten years.
    """
    if not isinstance(after, timedelta):
        remedy = f"; write timedelta(seconds={after})" if isinstance(after, int | float) else ""
        raise DefinitionError(subject, f"{name} must be a timedelta, not {a_kind(after)}{remedy}")
    if not timedelta(0) < after <= LONGEST_DEADLINE:
        raise DefinitionError(subject, f"{name} must be positive and at most ten years, not {after}")


def checked_deadline(subject: str, deadline: object) -> timedelta | datetime | None:
    """Return a deadline as it is kept: a datetime in UTC, whatever its offset was.

    Raises:
        DefinitionError: A time without an offset, or more than ten years from now; or no deadline at all.
    """
    if deadline is None:
        return None
    if isinstance(deadline, timedelta):
        check_after(subject, "deadline", deadline)
        return deadline
    if not isinstance(deadline, datetime):
        remedy = f"; write timedelta(seconds={deadline})" if isinstance(deadline, int | float) else ""
        raise DefinitionError(
            subject, f"deadline must be a timedelta, a datetime with an offset, or None, not {a_kind(deadline)}{remedy}"
        )
    if deadline.utcoffset() is None:
        raise DefinitionError(
            subject, "deadline has no UTC offset; say which one, as in datetime(…, tzinfo=ZoneInfo('Europe/Berlin'))"
        )
    try:
        instant = deadline.astimezone(UTC)
    except OverflowError:
        instant = None
    if instant is None or instant - datetime.now(UTC) > LONGEST_DEADLINE:
        raise DefinitionError(subject, f"deadline must be at most ten years from now, not {deadline.isoformat()}")
    return instant


def checked_reminders(subject: str, given: object) -> tuple[timedelta, ...]:
    """Return reminders in their order.

    Raises:
        DefinitionError: One is no positive timedelta, or two are the same.
    """
    times: list[timedelta] = listed(subject, "remind", given, "timedeltas")
    if len(times) > MOST_REMINDERS:
        raise DefinitionError(subject, f"remind may have {MOST_REMINDERS} times at most, not {len(times)}")
    for each in times:
        check_after(subject, "remind", each)
    return _in_order(subject, "remind", times, lambda each: each)


def checked_escalations(subject: str, given: object) -> tuple[Escalation, ...]:
    """Return escalations in their order.

    Raises:
        DefinitionError: One is no `Escalation`, or two are at the same time.
    """
    steps: list[Escalation] = listed(subject, "escalate", given, "Escalation")
    if len(steps) > MOST_ESCALATIONS:
        raise DefinitionError(subject, f"escalate may have {MOST_ESCALATIONS} steps at most, not {len(steps)}")
    for each in steps:
        if not isinstance(each, Escalation):
            raise DefinitionError(subject, f"escalate must be a list of Escalation, not of {a_kind(each)}")
    return _in_order(subject, "escalate", steps, lambda each: each.after)


def check_before(subject: str, deadline: timedelta | datetime | None, name: str, after: timedelta) -> None:
    """Check that a step comes before the deadline, where both are counted from the same moment.

    Raises:
        DefinitionError: It could never take place.
    """
    if isinstance(deadline, timedelta) and after >= deadline:
        raise DefinitionError(subject, f"{name} after {after} comes too late: the deadline is after {deadline}")


def checked_approvers(subject: str, given: object, *, reviewers: bool = False) -> tuple[str, ...]:
    """Return approvers, each once.

    Args:
        subject: For the error.
        given: The option.
        reviewers: A reviewer may be among them.

    Raises:
        DefinitionError: They are too many, or no names.
    """
    names = listed(subject, "approvers", given, "names")
    if len(names) > MOST_APPROVERS:
        raise DefinitionError(subject, f"approvers may be {MOST_APPROVERS} at most; make a group of them")
    known: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str) or not person(name.removeprefix(GROUP)):
            raise DefinitionError(subject, f"approvers holds {name!r}, which is no name")
        if len(name) > APPROVER_CHARACTERS or not name.isprintable():
            raise DefinitionError(
                subject, f"an approver's name must be printable, of at most {APPROVER_CHARACTERS} characters"
            )
        if is_reviewer(name) and not reviewers:
            raise DefinitionError(
                subject, f"approvers holds {name!r}, and a reviewer is no person who could decide here"
            )
        key = name if is_group(name) else person(name)
        if key in known:
            raise DefinitionError(subject, f"approvers names {name!r} twice")
        known[key] = name
    return tuple(known.values())


def _in_order(subject: str, name: str, given: Sequence[T], time_of: Callable[[T], timedelta]) -> tuple[T, ...]:
    ordered = sorted(given, key=time_of)
    if len({time_of(each) for each in ordered}) < len(ordered):
        raise DefinitionError(subject, f"{name} has the same time twice")
    return tuple(ordered)
