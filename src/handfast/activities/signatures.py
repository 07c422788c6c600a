"""Checks signatures by the worker's keys: for updates as a function of the worker, for signals as an activity."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from temporalio.exceptions import ApplicationError

from handfast.errors import KeysUnavailableError, RefusalError
from handfast.payloads.evaluation import Evaluated
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.requests import Decision
from handfast.payloads.signed import Refusal, VerifyDecision

if TYPE_CHECKING:
    from handfast.trusted_keys import TrustedKeys


def refusal_of(asked: VerifyDecision, trusted: TrustedKeys) -> Refusal | None:
    """Why a decision does not count; None where it does."""
    try:
        trusted.check_new(
            Decision.from_wire(asked.decision),
            asked.place,
            requested_at=datetime.fromisoformat(asked.requested_at),
            of=asked.of,
            stored=bool(asked.stored),
        )
    except RefusalError as refusal:
        facts = {name: value for name, value in refusal.facts.items() if value is not None}
        return Refusal(type=type(refusal).__name__, message=refusal.message, facts=facts)
    return None


def verifier(trusted: TrustedKeys) -> Callable[[JsonObject], JsonObject | None]:
    """The function that validators call. Plain JSON in and out: it crosses the border of a sandbox."""

    def verify(asked: JsonObject) -> JsonObject | None:
        refused = refusal_of(VerifyDecision.from_wire(asked), trusted)
        return None if refused is None else refused.to_wire()

    return verify


def verified(asked: VerifyDecision, trusted: TrustedKeys | None) -> Evaluated:
    """Answer the activity.

    Raises:
        ApplicationError: This worker cannot tell; another may.
    """
    if trusted is None:
        raise ApplicationError("this worker has no keys to verify a decision with", type="Missing")
    refused = refusal_of(asked, trusted)
    if refused is not None and refused.type == KeysUnavailableError.__name__:
        raise ApplicationError(refused.message, type="Missing")
    return Evaluated(refused=refused)
