"""When a call needs a person's yes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias, get_args

from holdfast.context import RunContext
from holdfast.errors import DefinitionError

__all__ = ["Approval", "ApprovalRule", "ApprovalRuleResult", "OnDeadline"]

OnDeadline: TypeAlias = Literal["reject", "approve", "fail"]

LONGEST_DEADLINE: Final = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Approval:
    """A call waits for a person.

    Attributes:
        deadline: How long the request stays open; None is for ever. At most ten years.
        on_deadline: What an unanswered request becomes: a rejection, an approval, or a failed run.
        reason: Why a person is asked, shown with the request.
    """

    deadline: timedelta | None = None
    on_deadline: OnDeadline = "reject"
    reason: str | None = None

    def __post_init__(self) -> None:
        if self.deadline is not None and not isinstance(self.deadline, timedelta):
            raise DefinitionError("Approval", "deadline must be a timedelta or None")
        if self.deadline is not None and not timedelta(0) < self.deadline <= LONGEST_DEADLINE:
            raise DefinitionError("Approval", f"deadline must be positive and at most ten years, not {self.deadline}")
        if self.on_deadline not in get_args(OnDeadline):
            raise DefinitionError("Approval", f"on_deadline must be one of {', '.join(get_args(OnDeadline))}")
        if self.reason is not None and not isinstance(self.reason, str):
            raise DefinitionError("Approval", "reason must be a string or None")


ApprovalRuleResult: TypeAlias = Approval | bool | None
"""None and False: go ahead. True: ask, without a deadline."""

ApprovalRule: TypeAlias = (
    bool | Approval | Callable[[RunContext[Any], Any], ApprovalRuleResult | Awaitable[ApprovalRuleResult]]
)
"""True or an `Approval`: ask always. A function of run context and arguments, sync or async: it decides."""
