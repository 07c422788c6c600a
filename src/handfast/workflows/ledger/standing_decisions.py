"""Decisions that hold for the run: which may be remembered, and which calls they answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, Field

from handfast.errors import RememberRefusedError
from handfast.payloads.canonical import sha256_digest
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.matching import matches
from handfast.payloads.people import is_group, person
from handfast.payloads.remember import Remember, RememberedFor, RememberScope
from handfast.payloads.requests import Approve, Decision, Reject, Request
from handfast.workflows.ledger import votes

MOST_REMEMBERED: Final = 100
"""Decisions that one workflow remembers; one more for the same calls replaces the one before."""

_OF_A_TOOL: Final = ("approval", "handoff", "hosted_mcp")
"""Kinds of request that are about a call of a tool; the tool of a hosted server bears the server's label."""
_WIDTH: Final[dict[RememberedFor, int]] = {"arguments": 0, "match": 1, "tool": 2}
"""What is said of fewer calls goes before what is said of more."""


class Remembered(BaseModel):
    """A decision that answers later calls.

    Attributes:
        root: The run that it holds for: a workflow of the user's own may have several.
        agent: Whose calls; None is every agent's.
        arguments: Digest of the call's arguments, without those that have a pattern.
        request: The one that was decided.
        approvers: Of that request, as `exclude_requester`: a call that asks others is not answered.
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
    proof: Decision | None = None
    uses: int | None = None
    used: int = 0
    until: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Whether it still answers any call."""
        return (self.uses is None or self.used < self.uses) and (self.until is None or now < self.until)

    @property
    def proofs(self) -> list[Decision]:
        """What proves it to the wrapper of a tool; nothing where it is not signed."""
        return [] if self.proof is None else [self.proof]

    @property
    def key(self) -> tuple[object, ...]:
        """What it is about, but for its approvers: a later decision about the same replaces it."""
        patterns = tuple(sorted(self.patterns.items())) if self.patterns else None
        return self.root, self.tool, self.agent, self.of, self.arguments, patterns, self.exclude_requester


def check(request: Request, decision: Decision, arguments: JsonObject | None, now: datetime) -> None:
    """Refuse what cannot be remembered.

    Args:
        request: Is decided.
        decision: Says what it is to be remembered for.
        arguments: The call's, whole; None where they are not known.
        now: Workflow time.

    Raises:
        RememberRefusedError: The text says why; the decision may still be taken for this call alone.
    """
    asked = decision.remember
    if asked is None:
        return
    if request.kind not in _OF_A_TOOL or request.tool is None:
        raise _refused(request, f"a request of kind {request.kind} is about one thing alone")
    if not isinstance(decision.verdict, Approve | Reject):
        raise _refused(request, f"{decision.verdict.kind} is an answer to one call; approve and reject are remembered")
    if isinstance(decision.verdict, Approve) and decision.verdict.arguments is not None:
        raise _refused(request, "an approval with other arguments is about this call alone")
    if votes.takes_votes(request):
        raise _refused(request, "it takes several people to decide it, each time")
    if asked.until is not None and asked.until <= now:
        raise _refused(request, f"it was to end at {asked.until.isoformat()}, which has passed")
    if asked.of == "tool":
        return
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


def remembered(
    request: Request, decision: Decision, arguments: JsonObject | None, root: str, now: datetime
) -> Remembered:
    """What is kept of a decision that `check` let pass."""
    asked = decision.remember
    assert asked is not None
    assert request.tool is not None
    assert isinstance(decision.verdict, Approve | Reject)
    return Remembered(
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
        proof=decision if decision.signature is not None else None,
        uses=asked.uses,
        until=asked.until,
    )


def added(known: Sequence[Remembered], new: Remembered) -> list[Remembered]:
    """The remembered decisions with *new* as the latest, in place of an earlier one about the same."""
    return [
        *(each for each in known if each.key != new.key or not _are_same(each.approvers, new.approvers)),
        new,
    ]


def recall(
    known: Iterable[Remembered],
    request: Request,
    arguments: JsonObject | None,
    root: str,
    now: datetime,
) -> Remembered | None:
    """The remembered decision that answers *request*: the narrowest, and of those the latest."""
    if request.kind not in _OF_A_TOOL or votes.takes_votes(request) or request.editors or is_changed(request):
        return None
    fitting = [each for each in known if each.holds(now) and _fits(each, request, arguments, root)]
    # `min` takes the first of equals, which is the latest.
    return min(reversed(fitting), key=lambda each: (_WIDTH[each.of], each.agent is None), default=None)


def wish_of(kept: Remembered) -> Remember:
    """What a remembered decision stands for, as it was asked for."""
    scope: RememberScope = "agent" if kept.agent is not None else "run"
    return Remember(of=kept.of, match=kept.patterns, scope=scope, uses=kept.uses, until=kept.until)


def _fits(kept: Remembered, request: Request, arguments: JsonObject | None, root: str) -> bool:
    if (kept.root, kept.tool) != (root, request.tool) or kept.agent not in (None, request.agent):
        return False
    if kept.exclude_requester != (request.exclude_requester is True):
        return False
    if kept.exclude_requester and (kept.by is None or votes.is_requester(request, kept.by)):
        return False
    if kept.exclude_requester and not request.requested_by and kept.verdict.kind == "approve":
        return False
    return _is_about(kept, arguments) and _are_same(kept.approvers, _approvers(request))


def _is_about(kept: Remembered, arguments: JsonObject | None) -> bool:
    if kept.of == "tool":
        return True
    if arguments is None:
        return False
    for name, pattern in (kept.patterns or {}).items():
        value = arguments.get(name)
        if not isinstance(value, str) or not matches(pattern, value):
            return False
    return kept.arguments == _digest(arguments, kept.patterns or ())


def _are_same(these: list[str], those: list[str]) -> bool:
    """Whether both name the same people and groups, however they are spelled."""
    return _folded(these) == _folded(those)


def _folded(approvers: Iterable[str]) -> set[str]:
    return {name if is_group(name) else person(name) for name in approvers}


def is_changed(request: Request) -> bool:
    """Whether a request shows what has changed since an approval: no earlier decision can have meant that."""
    return "changed" in (request.facts or {})


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
