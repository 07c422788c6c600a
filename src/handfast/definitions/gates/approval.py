"""Approvals: rules by which a call waits for a person, and the people who may decide."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias, get_args

from handfast.definitions.checks import a_kind, check_bool, check_choice, check_count, check_function, check_text
from handfast.definitions.context import RunContext
from handfast.definitions.gates import escalation
from handfast.definitions.gates.escalation import Escalation
from handfast.definitions.gates.review import (
    Reviewer,
    check_review,
    check_share,
    checked_may,
    name_of,
    names_of_reviewers,
)
from handfast.errors import DefinitionError
from handfast.payloads.people import GROUP, MOST_APPROVERS, groups_among, is_group, person

__all__ = ["Approval", "ApprovalRule", "ApprovalRuleResult", "Groups", "OnDeadline", "OnEdit"]

OnDeadline: TypeAlias = Literal["reject", "approve", "fail"]
OnEdit: TypeAlias = Literal["ask_again", "accept"]


@dataclass(frozen=True, slots=True)
class Approval:
    """Terms under which a person is asked about a call, for ``approval=`` and as the answer of an approval rule.

    Names are *claimed*: they are compared, not verified, so these rules stop mistakes and not attackers.

    Attributes:
        deadline: Time that the request stays open, or the end of it (a datetime with an offset); None is for ever. At
            most ten years.
        on_deadline: Outcome of an unanswered request: a rejection, an approval, or a failed run.
        reason: Shown with the request.
        approvers: People by name, groups as ``group:finance`` (looked up when a decision comes in, see
            ``HandfastPlugin(groups=…)``). Empty: anybody. At most 20.
        quorum: Number of different people who have to approve.
        exclude_requester: The person who asked for the run, or edited the arguments, may not decide.
        veto: One rejection closes the request; else rejections need the quorum too.
        on_edit: Effect of an approval with other arguments: ``"accept"`` runs them, ``"ask_again"`` opens a new request
            for them. None: ask again where there is a quorum or more than one approver, else accept.
        remind: Times after the opening at which people are told again (see ``HandfastPlugin(notify=…)``) of a request
            that is still open. At most 10.
        escalate: Further approvers after a time without a decision: at most 5 steps, and 20 approvers in all.
        review: A function of run context and `ReviewInput`, sync or async, or a `ModelReviewer`. It is asked beside
            the open request, and may approve or reject it before a person does, or leave it to people. It never counts
            toward a quorum, as a member of a group, as somebody other than the requester, or for arguments that a
            person wrote; where approvers are named it decides only as one of them, ``reviewer:NAME``.
        review_timeout: How long the review may take, from the opening of the request; then people decide. At most a
            day.
        review_may: Verdicts by which it may close the request; any other is an opinion that people are shown.
        min_confidence: With less than this confidence, from 0 to 1, it decides nothing.
        sample: Share of the requests, from 0 to 1, that people decide whatever it says.
    """

    deadline: timedelta | datetime | None = None
    on_deadline: OnDeadline = "reject"
    reason: str | None = None
    approvers: Sequence[str] = ()
    quorum: int = 1
    exclude_requester: bool = False
    veto: bool = True
    on_edit: OnEdit | None = None
    remind: Sequence[timedelta] = ()
    escalate: Sequence[Escalation] = ()
    review: Reviewer | None = None
    review_timeout: timedelta = timedelta(minutes=1)
    review_may: Sequence[Literal["approve", "reject"]] = ("approve", "reject")
    min_confidence: float = 0.8
    sample: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "deadline", escalation.checked_deadline("Approval", self.deadline))
        check_choice("Approval", "on_deadline", self.on_deadline, get_args(OnDeadline))
        check_text("Approval", "reason", self.reason, none=True)
        object.__setattr__(self, "approvers", escalation.checked_approvers("Approval", self.approvers, reviewers=True))
        self._check_quorum()
        self._check_steps()
        for name in ("exclude_requester", "veto"):
            check_bool("Approval", name, getattr(self, name))
        check_choice("Approval", "on_edit", self.on_edit, (*get_args(OnEdit), None))
        if self.on_edit == "accept" and self.quorum > 1:
            raise DefinitionError(
                "Approval", "on_edit='accept' with a quorum would count votes on different arguments; take 'ask_again'"
            )
        self._check_review()

    @property
    def asks_again(self) -> bool:
        """True where an approval with other arguments opens a new request for them."""
        if self.on_edit is not None:
            return self.on_edit == "ask_again"
        return self.quorum > 1 or len(set(self.all_approvers) - set(names_of_reviewers(self.approvers))) > 1

    @property
    def all_approvers(self) -> tuple[str, ...]:
        """Approvers, those of escalations included."""
        return tuple(dict.fromkeys((*self.approvers, *(name for step in self.escalate for name in step.approvers))))

    def _check_steps(self) -> None:
        object.__setattr__(self, "remind", escalation.checked_reminders("Approval", self.remind))
        object.__setattr__(self, "escalate", escalation.checked_escalations("Approval", self.escalate))
        for after in self.remind:
            escalation.check_before("Approval", self.deadline, "remind", after)
        for step in self.escalate:
            escalation.check_before("Approval", self.deadline, "escalate", step.after)
        if self.escalate and not self.approvers:
            raise DefinitionError(
                "Approval", "escalate adds approvers, and anybody may decide already; name approvers, or use remind"
            )
        if len(self.all_approvers) > MOST_APPROVERS:
            raise DefinitionError("Approval", f"approvers may be {MOST_APPROVERS} at most, with those of escalate")

    def _check_quorum(self) -> None:
        check_count("Approval", "quorum", self.quorum, most=MOST_APPROVERS)
        people = [each for each in self.approvers if each not in names_of_reviewers(self.approvers)]
        if people and not any(is_group(name) for name in people) and self.quorum > len(people):
            raise DefinitionError("Approval", f"quorum is {self.quorum}, but only {len(people)} people may approve")

    def _check_review(self) -> None:
        object.__setattr__(self, "review_may", checked_may("Approval", self.review_may))
        check_share("Approval", "min_confidence", self.min_confidence)
        check_share("Approval", "sample", self.sample)
        reviewers = names_of_reviewers(self.approvers)
        if self.review is None:
            if self.sample or reviewers:
                given = "sample" if self.sample else f"the approver {reviewers[0]!r}"
                raise DefinitionError("Approval", f"{given} means a reviewer, and there is none; give review=…")
            return
        check_review("Approval", self.review, self.review_timeout)
        by = name_of(self.review)
        other = next((each for each in reviewers if person(each) != person(by)), None)
        if other is not None:
            raise DefinitionError("Approval", f"approvers names {other!r}, and its reviewer is {by!r}")
        if not reviewers:
            return
        if len(self.approvers) == 1:
            raise DefinitionError(
                "Approval", f"approvers names nobody but {by!r}; who decides what it leaves to people?"
            )
        if self.quorum > 1 or self.exclude_requester:
            rule = f"a quorum of {self.quorum}" if self.quorum > 1 else "exclude_requester"
            raise DefinitionError(
                "Approval", f"approvers names {by!r}, and a reviewer never counts toward {rule}; leave it out of them"
            )


ApprovalRuleResult: TypeAlias = Approval | bool | None
"""None and False: go ahead. True: ask, without a deadline."""

ApprovalRule: TypeAlias = (
    bool | Approval | Callable[[RunContext[Any], Any], ApprovalRuleResult | Awaitable[ApprovalRuleResult]]
)
"""True or an `Approval`: ask always. A function of run context and arguments, sync or async: it decides."""

Groups: TypeAlias = Mapping[str, Collection[str]] | Callable[[str], Iterable[str] | Awaitable[Iterable[str]]]
"""Members by group, or a function, sync or async, of a person's name: the groups that the person is in."""


def check_groups(groups: Groups | None) -> None:
    """Check ``HandfastPlugin(groups=…)``.

    Raises:
        DefinitionError: It is no mapping of names to members, and no function of one name.
    """
    if groups is None:
        return
    if callable(groups):
        check_function("HandfastPlugin", "groups", groups, "a person's name")
        return
    if not isinstance(groups, Mapping):
        raise DefinitionError(
            "HandfastPlugin", f"groups must be members by group, or a function of a person's name, not {a_kind(groups)}"
        )
    given: Mapping[Any, Any] = groups
    for group, members in given.items():
        if not isinstance(group, str) or not group.removeprefix(GROUP):
            raise DefinitionError("HandfastPlugin", f"groups holds {group!r}, which is no name")
        listed = isinstance(members, Collection) and not isinstance(members, str)
        if not listed or not all(isinstance(each, str) and person(each) for each in members):
            raise DefinitionError("HandfastPlugin", f"groups: the members of {group!r} must be a list of names")
        if reviewers := names_of_reviewers(list(members)):
            raise DefinitionError(
                "HandfastPlugin", f"groups: {reviewers[0]!r} in {group!r} is a reviewer, and no member of any group"
            )


def check_asked_groups(subject: str, asking: object, groups: Groups | None) -> None:
    """Check that the groups which *asking* names can be looked up; answers of a function are not known here.

    Args:
        subject: For the error: the tool.
        asking: An `Approval`, an `Ask`, or another value, which names no groups.
        groups: The plugin's option.

    Raises:
        DefinitionError: A group has no members, so nobody could decide.
    """
    approvers = getattr(asking, "all_approvers", None)
    if not isinstance(approvers, tuple) or callable(groups):
        return
    known = {group.removeprefix(GROUP) for group in groups or ()}
    unknown = [group for group in groups_among(approvers) if group.removeprefix(GROUP) not in known]
    if unknown:
        raise DefinitionError(
            subject, f"its approvers name {', '.join(unknown)}; give HandfastPlugin(groups=…) with the members"
        )
