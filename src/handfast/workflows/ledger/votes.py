"""Counts the votes on a request: who may cast one, and when there are enough. Pure.

Names are claimed, where decisions need not be signed: there these rules stop mistakes, not attackers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal

from handfast.errors import AlreadyVotedError, NotAnApproverError, RefusalError, RequesterExcludedError
from handfast.payloads.people import groups_among, is_group, person
from handfast.payloads.requests import Decision, Request, Vote
from handfast.payloads.signature import SignedBy


def check_right(request: Request, decision: Decision) -> None:
    """Refuse a decision by somebody who may not decide, as far as no group has to be looked up.

    Raises:
        NotAnApproverError: The request names its approvers, and this is none of them, or it is not said who decides.
        RequesterExcludedError: The one who asked may not decide.
        AlreadyVotedError: Each person counts once.
    """
    if not _has_rules(request):
        return
    who = person(decision.decided_by or "")
    if not who:
        raise NotAnApproverError(
            f"{request.id} counts who decides; say who with decided_by",
            request=request.id,
            rule="decided_by",
            approvers=request.approvers,
        )
    _check_requester(request, decision, who)
    if request.approvers and not groups_among(request.approvers) and who not in _people(request):
        raise _no_approver(request, decision)
    _check_first(request, decision, who)


def groups_to_look_up(request: Request, decision: Decision) -> list[str]:
    """Return the groups that may give the decider the right to decide; none where that is known without."""
    if not request.approvers or person(decision.decided_by or "") in _people(request):
        return []
    return groups_among(request.approvers)


def check_membership(request: Request, decision: Decision, groups: Collection[str]) -> None:
    """Refuse a decider who is in none of the request's groups.

    Args:
        request: Names groups among its approvers.
        decision: By a person who is not named there.
        groups: Those of the request's groups that the person is in, as looked up for this decision.

    Raises:
        NotAnApproverError: In none.
    """
    if not set(groups) & set(request.approvers or ()):
        raise _no_approver(request, decision)


def counted(request: Request, decision: Decision, now: datetime, signed_by: SignedBy | None = None) -> list[Vote]:
    """Return the votes on *request* with this one. A rejection takes the person's approval back."""
    assert decision.decided_by is not None
    who = person(decision.decided_by)
    others = [vote for vote in request.votes or [] if person(vote.by) != who]
    kind: Literal["approve", "reject"] = "reject" if decision.verdict.kind == "reject" else "approve"
    return [*others, Vote(by=decision.decided_by, verdict=kind, at=now, signed_by=signed_by)]


def proven(proofs: Sequence[Decision], decision: Decision) -> list[Decision]:
    """Return the signed decisions on a request with this one, if it is signed: of each person the last."""
    who = person(decision.decided_by or "")
    others = [each for each in proofs if person(each.decided_by or "") != who]
    return [*others, decision] if decision.signature is not None else others


def takes_votes(request: Request) -> bool:
    """Return whether one person's approval is not enough."""
    return (request.quorum or 1) > 1


def needed(request: Request, verdict: str) -> int:
    """Return how many votes close the request with *verdict*: with a veto, one rejection does."""
    return 1 if verdict == "reject" and request.veto is not False else request.quorum or 1


def enough(request: Request, votes: Collection[Vote], verdict: str) -> bool:
    """Return whether *votes* close the request with *verdict*."""
    return votes_for(votes, verdict) >= needed(request, verdict)


def votes_for(votes: Collection[Vote], verdict: str) -> int:
    """Count the votes for *verdict*."""
    return sum(vote.verdict == verdict for vote in votes)


def is_requester(request: Request, name: str) -> bool:
    """Return whether *name* asked for the call, or had a hand in its arguments."""
    asked = [*(request.editors or []), *([request.requested_by] if request.requested_by else [])]
    return person(name) in {person(each) for each in asked}


def _has_rules(request: Request) -> bool:
    return bool(request.approvers) or takes_votes(request) or request.exclude_requester is True


def _people(request: Request) -> set[str]:
    return {person(name) for name in request.approvers or () if not is_group(name)}


def _check_requester(request: Request, decision: Decision, who: str) -> None:
    if request.exclude_requester is not True:
        return
    if is_requester(request, who):
        raise RequesterExcludedError(
            f"{decision.decided_by} asked for this call or changed its arguments, and {request.id} is to be decided by "
            "somebody else (exclude_requester)",
            request=request.id,
            rule="exclude_requester",
        )
    harmless = "give_up" if request.kind == "in_doubt" else "reject"
    if not request.requested_by and decision.verdict.kind != harmless:
        raise RequesterExcludedError(
            f"it is not known who asked for this run, and {request.id} is not to be approved by that person "
            f"(exclude_requester); start runs with requested_by. It takes {harmless} alone",
            request=request.id,
            rule="exclude_requester",
        )


def _check_first(request: Request, decision: Decision, who: str) -> None:
    kind = decision.verdict.kind
    for vote in request.votes or []:
        if person(vote.by) == who and (vote.verdict == kind or kind != "reject"):
            raise AlreadyVotedError(
                f"{decision.decided_by} has already voted to {vote.verdict} {request.id}; each person counts once "
                "(quorum)",
                request=request.id,
                rule="quorum",
                verdict=vote.verdict,
            )


def _no_approver(request: Request, decision: Decision) -> RefusalError:
    approvers = list(request.approvers or ())
    return NotAnApproverError(
        f"{decision.decided_by} may not decide {request.id}: its approvers are {', '.join(approvers)}",
        request=request.id,
        rule="approvers",
        approvers=approvers,
    )
