"""Reviews: a function of the application's that judges a request beside the people who may decide it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from typing import Annotated, Final, Literal

from pydantic import Field

from handfast.payloads.base import Payload
from handfast.payloads.people import named

__all__ = ["Review", "is_sampled"]

REVIEW: Final = "handfast.review"
"""The activity that asks a reviewer."""
REVIEW_REASON_CHARACTERS: Final = 600
"""Longest reason that is kept: it stands in the memo, with the request."""

ReviewVerdict = Literal["approve", "reject", "leave"]
ReviewMay = Literal["approve", "reject"]
LeftBecause = Literal[
    "undecided", "low_confidence", "not_allowed", "people_required", "sampled", "unsigned", "refused", "failed"
]
Share = Annotated[float, Field(ge=0, le=1)]


class ReviewPlan(Payload):
    """Terms of a review, as the approval rule gave them once.

    Attributes:
        by: The name under which it decides, as in ``reviewer:judge``.
        timeout_s: How long it may take.
        min_confidence: What it says with less decides nothing.
        may: Verdicts by which it may close the request; None is both.
        sample: Share of the requests that a person decides whatever it says; None is none.
    """

    by: str
    timeout_s: Annotated[float, Field(gt=0)]
    min_confidence: Share
    may: list[ReviewMay] | None = None
    sample: Share | None = None


class Review(ReviewPlan):
    """The review of a request: its terms, and what came of it where people decide.

    Attributes:
        left: Why people decide. None: the review is under way, or it has closed the request. Else *undecided* (the
            reviewer left it to them), *low_confidence* (it was not sure enough), *not_allowed* (it may not close a
            request so), *people_required* (the request names approvers, takes a quorum, excludes who asked, or has
            arguments that a person wrote), *sampled* (it is one of those that people decide anyway), *unsigned* (in
            production mode, no trusted key has signed it), *refused* (as any decision may be), or *failed* (it said
            nothing).
        verdict: What it said, with `confidence` from 0 to 1 and its `reason`.
        problem: Of *unsigned*, *refused* and *failed*: what happened.
    """

    left: LeftBecause | None = None
    verdict: ReviewVerdict | None = None
    confidence: Share | None = None
    reason: str | None = None
    problem: str | None = None

    @property
    def is_under_way(self) -> bool:
        """True while nothing has come of it."""
        return self.left is None and self.verdict is None


def counts_alone(
    by: str,
    *,
    approvers: Collection[str] | None,
    quorum: int | None,
    exclude_requester: bool | None,
    editors: Collection[str] | None = None,
) -> bool:
    """Return whether a reviewer may close a request with these rules.

    It is nobody's colleague: it never counts toward a quorum, is in no group, and is not the other person that
    `exclude_requester` wants, nor the one who looks at what a person has put in. Among approvers it has to be named
    itself.
    """
    alone = (quorum or 1) == 1 and not exclude_requester and not editors
    return alone and (not approvers or named(by, approvers))


def is_sampled(digest: str, share: float, key: bytes) -> bool:
    """Return True where a request is one of the share that people decide whatever its reviewer says.

    The first eight bytes of the HMAC-SHA256 of the request's digest, read as a big-endian number from 0 to 1, are below
    *share*. So an auditor with the key computes it again, and nobody without can tell beforehand.

    Args:
        digest: ``request.digest``, as requests and the event `request_opened` have it: ``v1:`` and 64 digits.
        share: ``Approval(sample=…)`` of then, as in ``request.review.sample``.
        key: ``HandfastPlugin(sample_key=…)`` of the workers.
    """
    drawn = hmac.new(key, digest.encode(), hashlib.sha256).digest()[:8]
    return int.from_bytes(drawn, "big") / 2**64 < share
