"""Applies the answer of a reviewer to its request. Pure.

All that a reviewer may do is written in the request, by the application's own approval rule: no text that it was shown
changes any of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from handfast.errors import RefusalError
from handfast.payloads.requests import Decision, Request, Transition
from handfast.payloads.review import LeftBecause, counts_alone
from handfast.payloads.review_call import Reviewed, decision_of
from handfast.workflows.ledger.ledger import Ledger

PROBLEM_CHARACTERS: Final = 300


@dataclass(frozen=True)
class Left:
    """People decide a request, whatever its reviewer said."""

    because: LeftBecause
    problem: str | None = None


def due(request: Request) -> bool:
    """Return whether the reviewer of an open request has yet to be heard."""
    return request.review is not None and request.review.is_under_way


def take(ledger: Ledger, request_id: str, said: Reviewed, now: datetime) -> None:
    """Record what the reviewer of an open request said, and the decision that follows, if one does."""
    ledger.book.remind(now)
    entry = ledger.book.entries[request_id]
    follows = judged(entry.request, said, signed=ledger.state.signed)
    if isinstance(follows, Decision):
        try:
            ledger.check(follows, now)
        except RefusalError as refusal:
            follows = Left("refused", refusal.message)
    left = follows if isinstance(follows, Left) else Left("undecided")
    review = entry.request.review
    assert review is not None
    problem = None if left.problem is None else left.problem[:PROBLEM_CHARACTERS]
    update = {
        "verdict": said.verdict,
        "confidence": said.confidence,
        "reason": said.reason,
        "left": None if isinstance(follows, Decision) else left.because,
        "problem": problem,
    }
    changed = entry.request.model_copy(update={"review": review.model_copy(update=update)})
    ledger.book.change(changed)
    ledger.log.note(
        Transition(
            what="reviewed",
            at=now,
            request=request_id,
            verdict=said.verdict,
            by=review.by,
            why=problem or said.reason,
            confidence=said.confidence,
            left=None if isinstance(follows, Decision) else left.because,
        )
    )
    if isinstance(follows, Decision):
        ledger.record(follows, now)


def judged(request: Request, said: Reviewed, *, signed: bool) -> Decision | Left:
    """Return the decision that follows from what a reviewer said, or why people decide.

    Args:
        request: The request, with the terms of its review.
        said: What the reviewer said.
        signed: The run takes signed decisions only.
    """
    review = request.review
    assert review is not None
    if said.problem is not None or said.verdict is None:
        return Left("failed", said.problem or "the reviewer said nothing")
    if said.verdict == "leave":
        return Left("undecided")
    if said.confidence is None or said.confidence < review.min_confidence:
        return Left("low_confidence")
    if review.may is not None and said.verdict not in review.may:
        return Left("not_allowed")
    if not counts_alone(
        review.by,
        approvers=request.approvers,
        quorum=request.quorum,
        exclude_requester=request.exclude_requester,
        editors=request.editors,
    ):
        return Left("people_required")
    if review.sample is not None and said.sampled is not False:
        return Left("sampled")
    if signed and said.signature is None:
        return Left("unsigned", said.unsigned or "the worker that asked the reviewer signs nothing")
    return decision_of(request, said.verdict, said.reason).model_copy(update={"signature": said.signature})
