"""Standing decisions: decisions that answer later calls of their run."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Annotated, Final, Self

from pydantic import BaseModel, Field

from handfast.errors import RememberRefusedError
from handfast.payloads.canonical import sha256_digest
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.matching import matches
from handfast.payloads.people import is_group, person
from handfast.payloads.remember import Remember, RememberedFor, RememberScope
from handfast.payloads.requests import Approve, Decision, Reject, Request
from handfast.workflows.ledger import votes

MOST_STANDING: Final = 100
"""Standing decisions of one workflow; one more about the same calls replaces the one before."""

_OF_A_TOOL: Final = ("approval", "handoff", "hosted_mcp")
"""Kinds of request that are about a call of a tool; the tool of a hosted server bears the server's label."""
_WIDTH: Final[dict[RememberedFor, int]] = {"arguments": 0, "match": 1, "tool": 2}
"""A decision about fewer calls goes before one about more."""


class StandingDecision(BaseModel):
    """A decision that answers later calls.

    Attributes:
        root: Root frame of the run that it holds for: a workflow of the user's own may have several.
        agent: Whose calls it answers; None is every agent's.
        arguments: Digest of the call's arguments, without those that have a pattern.
        request: The request that was decided.
        approvers: Of that request, as `exclude_requester`: a call that asks others is not answered.
        definition: Digest of the definition of an MCP tool, as it was decided on: another one is another tool.
        proof: The decision itself, where it is signed.
        uses: How many calls it answers at most, and `used` how many it has answered.
        until: When it ends.
    """

    root: str
    tool: str
    agent: str | None
    of: RememberedFor
    arguments: str | None
    patterns: dict[str, str] | None
    verdict: Annotated[Approve | Reject, Field(discriminator="kind")]
    by: str | None
    at: datetime
    request: str
    approvers: list[str]
    exclude_requester: bool
    definition: str | None = None
    proof: Decision | None = None
    uses: int | None = None
    used: int = 0
    until: datetime | None = None

    @classmethod
    def of_decision(
        cls, request: Request, decision: Decision, arguments: JsonObject | None, root: str, now: datetime
    ) -> Self:
        """Make the standing decision of one that `StandingDecisions.check` let pass."""
        asked = decision.remember
        assert asked is not None
        assert request.tool is not None
        assert isinstance(decision.verdict, Approve | Reject)
        return cls(
            root=root,
            tool=request.tool,
            agent=request.agent if asked.scope == "agent" else None,
            of=asked.of,
            arguments=None if asked.of == "tool" else _digest(arguments or {}, asked.match or ()),
            patterns=asked.match,
            verdict=decision.verdict,
            by=decision.decided_by,
            at=now,
            request=request.id,
            approvers=_approvers(request),
            exclude_requester=request.exclude_requester is True,
            definition=_definition(request),
            proof=decision if decision.signature is not None else None,
            uses=asked.uses,
            until=asked.until,
        )

    def holds(self, now: datetime) -> bool:
        """Return whether it still answers any call."""
        return (self.uses is None or self.used < self.uses) and (self.until is None or now < self.until)

    def fits(self, request: Request, arguments: JsonObject | None, root: str) -> bool:
        """Return whether it is about the call of *request*, and its author may decide that one too."""
        if (self.root, self.tool) != (root, request.tool) or self.agent not in (None, request.agent):
            return False
        if self.definition != _definition(request):
            return False
        if self.exclude_requester != (request.exclude_requester is True):
            return False
        if self.exclude_requester and (self.by is None or votes.is_requester(request, self.by)):
            return False
        if self.exclude_requester and not request.requested_by and self.verdict.kind == "approve":
            return False
        return self._is_about(arguments) and _people(self.approvers) == _people(_approvers(request))

    def replaces(self, other: StandingDecision) -> bool:
        """Return whether it is about the same calls of the same approvers as *other*."""
        return self._subject == other._subject and _people(self.approvers) == _people(other.approvers)

    @property
    def proofs(self) -> list[Decision]:
        """Signed decision that proves it to a tool's wrapper; none where it is not signed."""
        return [] if self.proof is None else [self.proof]

    @property
    def remember(self) -> Remember:
        """Wish by which it was remembered."""
        scope: RememberScope = "agent" if self.agent is not None else "run"
        return Remember(of=self.of, match=self.patterns, scope=scope, uses=self.uses, until=self.until)

    @property
    def _subject(self) -> tuple[object, ...]:
        patterns = tuple(sorted(self.patterns.items())) if self.patterns else None
        return self.root, self.tool, self.agent, self.of, self.arguments, patterns, self.exclude_requester

    def _is_about(self, arguments: JsonObject | None) -> bool:
        if self.of == "tool":
            return True
        if arguments is None:
            return False
        for name, pattern in (self.patterns or {}).items():
            value = arguments.get(name)
            if not isinstance(value, str) or not matches(pattern, value):
                return False
        return self.arguments == _digest(arguments, self.patterns or ())


class StandingDecisions:
    """Keeps the standing decisions of one workflow.

    Each holds for the run of its root frame, not for a whole workflow of the user's own with several runs.
    """

    def __init__(self, decisions: list[StandingDecision]) -> None:
        """Work on *decisions*, oldest first."""
        self._decisions = decisions

    def __len__(self) -> int:
        """Return how many there are, those included that answer no further call."""
        return len(self._decisions)

    @property
    def requests(self) -> set[str]:
        """Ids of the requests that were decided by them."""
        return {each.request for each in self._decisions}

    def check(self, request: Request, decision: Decision, arguments: JsonObject | None, now: datetime) -> None:
        """Refuse a wish to be remembered that cannot be fulfilled.

        Args:
            request: Is decided.
            decision: Says for which calls it is to be remembered.
            arguments: Of the call, whole; None where they are not known.
            now: Workflow time.

        Raises:
            RememberRefusedError: The text says why; the decision may still be taken for this call alone.
        """
        asked = decision.remember
        if asked is None:
            return
        _check_subject(request, decision)
        if asked.until is not None and asked.until <= now:
            raise _refused(request, f"it was to end at {asked.until.isoformat()}, which has passed")
        if asked.of != "tool":
            _check_arguments(request, asked, arguments)
        if sum(each.holds(now) for each in self._decisions) >= MOST_STANDING:
            raise RememberRefusedError(
                f"{MOST_STANDING} decisions are remembered here already; decide without remember",
                request=decision.id,
                rule="remember",
            )

    def add(self, new: StandingDecision, now: datetime) -> None:
        """Keep *new*, in place of an earlier one about the same; forget those that have ended."""
        self._decisions[:] = [each for each in self._decisions if each.holds(now) and not new.replaces(each)] + [new]

    def find(
        self, request: Request, arguments: JsonObject | None, root: str, now: datetime, *, signed: bool
    ) -> StandingDecision | None:
        """Find the decision that answers *request*: the narrowest, and of those the latest.

        Args:
            request: Would be asked, or is open.
            arguments: Of its call, whole; None where they are not known.
            root: Root frame of its run.
            now: Workflow time.
            signed: Only signed decisions count.
        """
        if request.kind not in _OF_A_TOOL or votes.takes_votes(request) or request.editors or is_changed(request):
            return None
        fitting = [
            each
            for each in self._decisions
            if each.holds(now) and (each.proof is not None or not signed) and each.fits(request, arguments, root)
        ]
        # `min` takes the first of equals, which is the latest.
        return min(reversed(fitting), key=lambda each: (_WIDTH[each.of], each.agent is None), default=None)

    def drop(self, requests: Collection[str]) -> list[StandingDecision]:
        """Forget the decisions on *requests*; return them."""
        dropped = [each for each in self._decisions if each.request in requests]
        self._decisions[:] = [each for each in self._decisions if each.request not in requests]
        return dropped

    def forget(self, root: str) -> None:
        """Forget the decisions of a run, which has ended."""
        self._decisions[:] = [each for each in self._decisions if each.root != root]


def is_changed(request: Request) -> bool:
    """Return whether a request shows a change since an approval: no earlier decision can have meant that."""
    return "changed" in (request.facts or {})


def _definition(request: Request) -> str | None:
    return request.bound.schema_digest if "mcp" in (request.facts or {}) else None


def _check_subject(request: Request, decision: Decision) -> None:
    if request.kind not in _OF_A_TOOL or request.tool is None:
        raise _refused(request, f"a request of kind {request.kind} is about one thing alone")
    if not isinstance(decision.verdict, Approve | Reject):
        raise _refused(request, f"{decision.verdict.kind} is an answer to one call; approve and reject are remembered")
    if isinstance(decision.verdict, Approve) and decision.verdict.arguments is not None:
        raise _refused(request, "an approval with other arguments is about this call alone")
    if votes.takes_votes(request):
        raise _refused(request, "it takes several people to decide it, each time")


def _check_arguments(request: Request, asked: Remember, arguments: JsonObject | None) -> None:
    if arguments is None:
        raise _refused(request, "its arguments are not known whole")
    for name, pattern in (asked.match or {}).items():
        value = arguments.get(name)
        if not isinstance(value, str):
            what = "is no text" if name in arguments else "is no argument of this call"
            raise _refused(request, f"{name[:64]} {what}, and can have no pattern")
        if not matches(pattern, value):
            raise _refused(
                request,
                f"the pattern of {name[:64]} does not fit this very call; a value with anything that a shell acts upon "
                "fits none",
            )


def _people(approvers: Iterable[str]) -> set[str]:
    """Return approvers as they are compared: people however they are spelled, groups to the letter."""
    return {name if is_group(name) else person(name) for name in approvers}


def _approvers(request: Request) -> list[str]:
    return sorted(request.approvers or ())


def _digest(arguments: JsonObject, without: Iterable[str]) -> str:
    left_out = set(without)
    return sha256_digest({name: value for name, value in arguments.items() if name not in left_out})


def _refused(request: Request, why: str) -> RememberRefusedError:
    return RememberRefusedError(
        f"{request.id} cannot be remembered so: {why}; decide it without remember",
        request=request.id,
        rule="remember",
    )
