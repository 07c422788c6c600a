"""Logs exceptions of the user's code: once, with their place in the run and the frames of the user's own files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from temporalio import activity

from handfast.activities.runtime.own_frames import last_own_line, own_traceback
from handfast.activities.runtime.redaction import hidden
from handfast.discretion import shows_user_texts
from handfast.payloads.model_call import Origin

logger = logging.getLogger("handfast.user_code")

LOGGED_WHERE_IT_HAPPENED: Final = frozenset(
    {"HandoffUnknown", "InstructionsFailed", "NotifyFailed", "ToolRetried", "VerifyFailed"}
)
"""Types of the failures of activities that follow from a problem of user code."""


@dataclass(frozen=True)
class Place:
    """The place in a run where user code is called; None for parts that do not apply.

    Attributes:
        run: Workflow id, where it is not the one of the activity under way.
    """

    agent: str | None = None
    turn: int | None = None
    tool: str | None = None
    run: str | None = None

    @classmethod
    def of(cls, origin: Origin, *, tool: str | None = None) -> Self:
        """Return the place that the input of an activity names."""
        return cls(origin.agent, origin.turn, tool)

    def facts(self) -> Iterator[str]:
        """Yield the known parts, for a line of the log."""
        if self.agent is not None:
            yield f"agent {self.agent}"
        if self.turn is not None:
            yield f"turn {self.turn}"
        if self.tool is not None:
            yield f"tool {self.tool}"
        run = self.run or (activity.info().workflow_id if activity.in_activity() else None)
        if run is not None:
            yield f"run {run}"


_PLACE: Final[ContextVar[Place | None]] = ContextVar("handfast_place", default=None)


def set_place(place: Place) -> None:
    """Name the place of all user code that the current task calls from now on."""
    _PLACE.set(place)


def set_tool(tool: str) -> None:
    """Name the tool at the place that is set already."""
    _PLACE.set(replace(_PLACE.get() or Place(), tool=tool))


def is_last_attempt() -> bool:
    """Return True where the server makes no further attempt at the activity under way."""
    info = activity.info()
    most = info.retry_policy.maximum_attempts if info.retry_policy is not None else 1
    return info.attempt >= most > 0


def log_error(
    name: str,
    error: BaseException,
    then: str = "",
    *,
    function: Callable[..., Any] | None = None,
    retried: bool = False,
) -> None:
    """Log an exception of the user's code.

    The frames of the user's own files are shown, which hold code and no payload. What the exception says is shown
    where `handfast.discretion` lets it, with the secrets of the call left out.

    Args:
        name: The function that raised, as in "the approval rule of refund".
        error: The exception.
        then: What follows from it.
        function: The function itself: its package is the user's own, installed or not.
        retried: The server tries the activity again: one line instead of the traceback, which the last attempt logs.
    """
    texts = shows_user_texts()
    if retried:
        last = last_own_line(error, function)
        raised = f"raised {type(error).__name__}{f' at {last}' if last else ''}"
        logger.warning("%s %s and is tried again (%s)", name, raised, _place(attempt=True))
        return
    trace = own_traceback(error, texts=texts, function=function)
    if texts:
        trace = hidden(trace)
    logger.error("%s raised %s%s (%s)\n%s", name, type(error).__name__, _follows(then), _place(), trace)


def log_timeout(name: str, problem: str, then: str = "", *, retried: bool = False) -> None:
    """Log that the user's code took too long."""
    follows = " and is tried again" if retried else _follows(then)
    logger.error("%s %s%s (%s)", name, problem, follows, _place(attempt=retried))


def log_answer(name: str, problem: str, then: str = "") -> None:
    """Log that the user's code gave an answer of no use."""
    logger.error("%s %s%s (%s)", name, problem, _follows(then), _place())


def _follows(then: str) -> str:
    return f"; {then}" if then else ""


def _place(*, attempt: bool = False) -> str:
    facts = list((_PLACE.get() or Place()).facts())
    if attempt and activity.in_activity():
        info = activity.info()
        most = info.retry_policy.maximum_attempts if info.retry_policy is not None else 0
        facts.append(f"attempt {info.attempt} of {most}" if most else f"attempt {info.attempt}")
    return ", ".join(facts) or "outside of a run"
