"""Policy for calls with an unknown outcome."""

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
    """Terms under which a person is asked about a call in doubt, for ``on_unknown=``; ``"ask"`` is this without terms.

    A request that nobody answers never runs the call again.

    Attributes:
        deadline: Time that the request stays open; None is for ever. At most ten years.
        on_deadline: Outcome of an unanswered request. ``"give_up"``: the model reads that the outcome is unknown.
            ``"fail"``: the run ends as ``DeadlineExpired``.
        approvers: People, and groups as ``group:finance``, who may answer. Empty: the approvers of the call, where a
            person was asked before, else anybody.
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
        """Approvers, for a check of their groups."""
        return tuple(self.approvers)

    @property
    def plan(self) -> DoubtPlan | None:
        """Terms for the workflow; None where all are the defaults."""
        plan = DoubtPlan(
            deadline_s=None if self.deadline is None else self.deadline.total_seconds(),
            on_deadline=None if self.on_deadline == "give_up" else self.on_deadline,
            approvers=list(self.approvers) or None,
        )
        return plan if plan.to_wire() else None


OnUnknown: TypeAlias = UnknownPolicy | Ask
"""Policy for a call with an unknown outcome: a word, or an `Ask` with terms."""


Verify: TypeAlias = Callable[[ToolContext[Any]], Ran | RunAgain | Awaitable[Ran | RunAgain | None] | None]
"""A function, sync or async, of the call's own tool context that finds out whether a call in doubt took effect."""


def checked_verify(subject: str, verify: object, effect: str) -> Verify | None:
    """Check the verify option and return it.

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
    """Return the word of a policy; None leaves it to whether the call was gated."""
    return "ask" if isinstance(on_unknown, Ask) else on_unknown


def plan_of(on_unknown: OnUnknown | None) -> DoubtPlan | None:
    """Return the terms of an `Ask`; None for a word."""
    return on_unknown.plan if isinstance(on_unknown, Ask) else None
