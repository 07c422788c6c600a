"""Who is asked about a call that may or may not have taken effect, and what becomes of it where nobody answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeAlias, cast, get_args

from handfast.definitions.checks import check_choice, check_function
from handfast.definitions.context import ToolContext
from handfast.definitions.gates.escalation import check_after, checked_approvers
from handfast.errors import DefinitionError
from handfast.payloads.model_call import DoubtPlan, UnknownPolicy
from handfast.payloads.requests import Ran, RunAgain

__all__ = ["Ask", "OnUnknown", "Verify"]

DoubtDefault: TypeAlias = Literal["give_up", "fail"]


@dataclass(frozen=True, slots=True)
class Ask:
    """A person is asked about a call in doubt, as with ``on_unknown="ask"``, and not for ever, or not just anybody.

    A request that nobody answers never runs the call again.

    Attributes:
        deadline: How long the request stays open; None is for ever. At most ten years.
        on_deadline: What an unanswered request becomes. ``"give_up"``: the model reads that the outcome is unknown.
            ``"fail"``: the run ends as ``DeadlineExpired``.
        approvers: Who may say what became of the call: people, and groups as ``group:finance``. Empty: who could let it
            run, where a person was asked before, else anybody.
    """

    deadline: timedelta | None = None
    on_deadline: DoubtDefault = "give_up"
    approvers: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.deadline is not None:
            check_after("Ask", "deadline", self.deadline)
        check_choice("Ask", "on_deadline", self.on_deadline, get_args(DoubtDefault))
        object.__setattr__(self, "approvers", checked_approvers("Ask", self.approvers))

    @property
    def all_approvers(self) -> tuple[str, ...]:
        """Everybody who may be asked, for a check of their groups."""
        return tuple(self.approvers)

    @property
    def plan(self) -> DoubtPlan | None:
        """What the workflow has to know of it; None where that is what it does anyway."""
        plan = DoubtPlan(
            deadline_s=None if self.deadline is None else self.deadline.total_seconds(),
            on_deadline=None if self.on_deadline == "give_up" else self.on_deadline,
            approvers=list(self.approvers) or None,
        )
        return plan if plan.to_wire() else None


OnUnknown: TypeAlias = UnknownPolicy | Ask
"""What follows when it is unknown whether a call took effect."""


Verify: TypeAlias = Callable[[ToolContext[Any]], Ran | RunAgain | Awaitable[Ran | RunAgain | None] | None]
"""Asks the outside world whether a call in doubt took effect; sync or async, given the call's own tool context."""


def checked_verify(subject: str, verify: object, effect: str) -> Verify | None:
    """Return the verify option.

    Raises:
        DefinitionError: It is no function of the tool context, or there is nothing to verify.
    """
    if verify is None:
        return None
    check_function(subject, "verify", verify, "the tool context")
    if effect != "at_most_once":
        raise DefinitionError(subject, f'verify is for effect="at_most_once"; a call that is {effect} is just repeated')
    return cast(Verify, verify)


def policy_of(on_unknown: OnUnknown | None) -> UnknownPolicy | None:
    """Whether it is asked, told or failed; None is left to whether the call was gated."""
    return "ask" if isinstance(on_unknown, Ask) else on_unknown


def plan_of(on_unknown: OnUnknown | None) -> DoubtPlan | None:
    """How it is asked, where that was said."""
    return on_unknown.plan if isinstance(on_unknown, Ask) else None
