"""Argument and answer of the activity `handfast.review`."""

from __future__ import annotations

from typing import Literal

from handfast.payloads.base import Payload
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import Origin
from handfast.payloads.requests import Approve, Decision, Reject, Request
from handfast.payloads.review import ReviewVerdict, Share
from handfast.payloads.signature import Signature
from handfast.payloads.tool_call import ArgumentsAt
from handfast.payloads.usage import Spent

__all__ = ["ReviewMessage"]

REJECTED_BY_REVIEWER = "A reviewer rejected this call. It did not run."
"""Text that the model reads when a reviewer rejected a call without a reason."""


class ReviewMessage(Payload):
    """A part of the conversation as a reviewer is shown it.

    Attributes:
        role: Who said it. *tool*: the output of a call.
        text: Its start, where it is long.
    """

    role: Literal["user", "assistant", "system", "developer", "tool"]
    text: str


class ReviewCall(Payload):
    """Ask the reviewer of a request.

    Attributes:
        request: The request, without its arguments.
        arguments: Of the call; None where they are large: `at` says where they stand.
        blocks: Blocks of the conversation that the reviewer is shown something of.
        costs: A limit of money holds: a model without a price is not asked.
    """

    origin: Origin
    request: Request
    arguments: JsonObject | None = None
    at: ArgumentsAt | None = None
    blocks: list[str] = []
    costs: bool | None = None


class Reviewed(Payload):
    """The answer of a reviewer, with what it was shown beside the request and its arguments.

    Attributes:
        problem: Why it said nothing.
        messages: What it was shown of the conversation.
        sampled: Whether the request is one of those that people decide anyway; None where there are none such.
        signature: The worker's, over the decision that follows.
        unsigned: Why there is none, or none that counts.
        spent: What the reviewer's model call has cost.
    """

    verdict: ReviewVerdict | None = None
    confidence: Share | None = None
    reason: str | None = None
    problem: str | None = None
    messages: list[ReviewMessage] = []
    sampled: bool | None = None
    signature: Signature | None = None
    unsigned: str | None = None
    spent: Spent | None = None


def decision_of(request: Request, verdict: Literal["approve", "reject"], reason: str | None) -> Decision:
    """Return the decision that follows from what the reviewer of *request* said: the worker signs the same one."""
    assert request.review is not None
    return Decision(
        id=request.id,
        verdict=Approve() if verdict == "approve" else Reject(reason=reason or REJECTED_BY_REVIEWER),
        decided_by=request.review.by,
        digest=request.digest,
        note=(reason or None) if verdict == "approve" else None,
    )
