"""Outcomes of the newest messages and decisions, by their ids: one that comes twice counts once."""

from __future__ import annotations

import hashlib
from typing import Final, Generic, TypeAlias, TypeVar

from pydantic import BaseModel

from handfast.errors import DecisionConflictError
from handfast.payloads.requests import Decision, DecisionOutcome, Receipt

T = TypeVar("T")
Known: TypeAlias = dict[str, tuple[str, T]]
"""By id a digest of the content, and the outcome; oldest first."""


class Recent(Generic[T]):
    """Keeps the newest outcomes."""

    def __init__(self, known: Known[T], most: int) -> None:
        """Work on *known*, and never keep more than *most* in it."""
        self._known = known
        self._most = most

    def get(self, key: str | None) -> tuple[str, T] | None:
        """Return digest and outcome of an id; None where there is no id, or none is known any more."""
        return None if key is None else self._known.get(key)

    def keep(self, key: str, digest: str, outcome: T) -> None:
        """Keep the outcome of an id, and forget the oldest beyond the limit."""
        self._known[key] = (digest, outcome)
        while len(self._known) > self._most:
            del self._known[next(iter(self._known))]


UNVERIFIED: Final = frozenset(
    {
        "DecisionUnsignedError",
        "SigningKeyUnknownError",
        "SigningKeyRetiredError",
        "SignerNotAllowedError",
        "SignatureInvalidError",
        "ClockSkewError",
        "KeysUnavailableError",
    }
)
"""Refusals of decisions whose author is not known. Such a decision takes no id: otherwise whoever guesses one could
keep the true decision from being counted."""
KEPT_OUTCOMES: Final = 1000
"""Recorded decisions whose outcome is kept, the newest ones."""
KEPT_REFUSALS: Final = 200
"""The same for refused ones, in room of their own: anybody may send them, and they must push out no recorded one."""


def content_of(decision: Decision) -> str:
    """Return a digest of a decision without id and signature: two decisions with one id must say the same."""
    return hashlib.sha256(decision.model_dump_json(exclude={"decision_id", "signature"}).encode()).hexdigest()


class OutcomesState(BaseModel):
    """The outcomes of decisions, as they are carried: by id a digest of the content, and the outcome."""

    recorded: Known[DecisionOutcome] = {}
    refused: Known[DecisionOutcome] = {}


class Outcomes:
    """Keeps the newest outcomes, each with the content that led to it."""

    def __init__(self, state: OutcomesState) -> None:
        """Work on *state*."""
        self._recorded: Recent[DecisionOutcome] = Recent(state.recorded, KEPT_OUTCOMES)
        self._refused: Recent[DecisionOutcome] = Recent(state.refused, KEPT_REFUSALS)

    def of(self, decision_id: str) -> DecisionOutcome:
        """Return the outcome of a decision; *unknown* where there is none."""
        known = self._known(decision_id)
        return known[1] if known else DecisionOutcome(decision_id=decision_id, state="unknown")

    def receipt_of(self, decision: Decision, *, signed: bool = False) -> Receipt | None:
        """Return the receipt of the same decision, if it was recorded before.

        Args:
            decision: As it came in.
            signed: The run takes signed decisions only: a refused one, which anybody may have sent, takes no id.

        Raises:
            DecisionConflictError: Its decision id was used with other content.
        """
        known = self._known(decision.decision_id)
        if known is None:
            return None
        content, outcome = known
        if outcome.error in UNVERIFIED or (signed and outcome.state == "refused"):
            return None
        if content != content_of(decision):
            raise DecisionConflictError(
                f"decision id {decision.decision_id} was used before with other content; make a new one",
                decision_id=decision.decision_id,
            )
        return None if outcome.receipt is None else outcome.receipt.model_copy(update={"duplicate": True})

    def keep(self, decision: Decision, outcome: DecisionOutcome) -> None:
        """Keep the outcome of a decision that has an id.

        A recorded decision stays recorded, whatever becomes of the same one by another way.
        """
        if decision.decision_id is None:
            return
        if outcome.state == "refused" and self.of(decision.decision_id).state == "recorded":
            return
        kept = outcome.model_copy(update={"decision_id": decision.decision_id})
        recent = self._refused if kept.state == "refused" else self._recorded
        recent.keep(decision.decision_id, content_of(decision), kept)

    def _known(self, decision_id: str | None) -> tuple[str, DecisionOutcome] | None:
        return self._recorded.get(decision_id) or self._refused.get(decision_id)
