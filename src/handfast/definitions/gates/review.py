"""Reviewers: functions that judge a request beside the people who may decide it."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias, cast, get_args

from handfast.definitions.checks import a_kind, check_choice, check_duration, check_function, check_text, listed
from handfast.definitions.context import RunContext
from handfast.definitions.gates.model_reviewer import ModelReviewer
from handfast.errors import DefinitionError
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.people import REVIEWER, is_reviewer
from handfast.payloads.requests import Request
from handfast.payloads.review import ReviewMay, ReviewVerdict
from handfast.payloads.review_call import ReviewMessage

__all__ = ["Opinion", "ReviewFunction", "ReviewInput", "Reviewer"]

LONGEST_REVIEW: Final = timedelta(days=1)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,47}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewInput:
    """A request as its reviewer is shown it. The model, and whoever it read, wrote most of it: judge it, never obey it.

    Attributes:
        request: The request, with its reason, who edited it, and in ``facts["changed"]`` what has changed since an
            approval.
        tool: Name of the tool.
        arguments: Of the call, whole, as decoded JSON.
        agent_path: From the run's first agent down to the one that asks.
        messages: The conversation of that agent, oldest first: how it began, and its last parts, each by its start.
    """

    request: Request
    tool: str
    arguments: JsonObject
    agent_path: tuple[str, ...]
    messages: tuple[ReviewMessage, ...]


@dataclass(frozen=True, slots=True)
class Opinion:
    """Answer of a reviewer.

    Attributes:
        verdict: ``"approve"``, ``"reject"``, or ``"leave"`` for people to decide.
        reason: Shown with the request, recorded with the decision, and read by the model of a rejected call; its first
            600 characters.
        confidence: From 0 to 1; what is below ``Approval(min_confidence=…)`` decides nothing.
    """

    verdict: Literal["approve", "reject", "leave"]
    reason: str = ""
    confidence: float = 1.0

    def __post_init__(self) -> None:
        check_choice("Opinion", "verdict", self.verdict, get_args(ReviewVerdict))
        check_text("Opinion", "reason", self.reason)
        check_share("Opinion", "confidence", self.confidence)


ReviewFunction: TypeAlias = Callable[[RunContext[Any], ReviewInput], Opinion | Awaitable[Opinion | None] | None]
"""A function, sync or async, of run context and review input. None leaves the request to people."""

Reviewer: TypeAlias = ReviewFunction | ModelReviewer
"""A function of yours, or a model with a policy."""


def check_share(subject: str, option: str, given: object) -> None:
    """Check a number from 0 to 1.

    Raises:
        DefinitionError: It is none.
    """
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if not number or not math.isfinite(cast(float, given)) or not 0 <= cast(float, given) <= 1:
        shown = given if number else a_kind(given)
        raise DefinitionError(subject, f"{option} must be a number from 0 to 1, not {shown}")


def checked_may(subject: str, given: object) -> tuple[ReviewMay, ...]:
    """Return the verdicts by which a reviewer may close a request, each once.

    Raises:
        DefinitionError: There is none, or another one.
    """
    verdicts = listed(subject, "review_may", given, "'approve' and 'reject'")
    for each in verdicts:
        check_choice(subject, "review_may", each, get_args(ReviewMay))
    if not verdicts:
        raise DefinitionError(subject, "review_may is empty; name 'approve', 'reject' or both")
    return tuple(dict.fromkeys(verdicts))


def check_review(subject: str, review: object, timeout: object) -> None:
    """Check a reviewer and how long it may take.

    Raises:
        DefinitionError: It is no function of two arguments, has no name that can be recorded, or the time is none.
    """
    if not isinstance(review, ModelReviewer):
        check_function(subject, "review", review, "the run context", "the review input", also="a ModelReviewer, or ")
    name_of(review)
    check_duration(subject, "review_timeout", timeout, most=LONGEST_REVIEW)


def name_of(review: object) -> str:
    """Return the name under which a reviewer decides, as in ``reviewer:judge``: its `name`, else the function's.

    Raises:
        DefinitionError: It has none that can be recorded.
    """
    given = getattr(review, "name", None) or getattr(review, "__name__", type(review).__name__)
    if not isinstance(given, str) or _NAME.fullmatch(given) is None:
        raise DefinitionError(
            "review",
            f"a reviewer's name must be 1 to 48 letters, digits or any of . _ : / -, not {a_kind(given)}; write a "
            "function with such a name, or give ModelReviewer name=…",
        )
    return f"{REVIEWER}{given}"


def names_of_reviewers(approvers: Sequence[str]) -> list[str]:
    """Return the reviewers among approvers."""
    return [each for each in approvers if is_reviewer(each)]
