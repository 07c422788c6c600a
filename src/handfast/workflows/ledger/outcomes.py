"""What became of decisions, by their ids: so that one that comes twice is answered twice and counted once. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from handfast.errors import DecisionConflictError
from handfast.payloads.requests import Decision, DecisionOutcome, Receipt
from handfast.workflows.ledger.recent import Recent

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
"""Why a decision was refused of which it is not known whose it is."""
KEPT_OUTCOMES: Final = 1000
"""Recorded decisions whose outcome is kept, the newest ones."""
KEPT_REFUSALS: Final = 200
"""Refused ones likewise: anybody may send those, and they must push out nothing that was recorded."""


def content_of(decision: Decision) -> str:
    """A digest of what a decision says, without id and signature: two with one id must say the same."""
    return hashlib.sha256(decision.model_dump_json(exclude={"decision_id", "signature"}).encode()).hexdigest()


class Outcomes:
    """The newest outcomes, each with the content that led to it."""

    def __init__(self) -> None:
        self._recorded: Recent[DecisionOutcome] = Recent(KEPT_OUTCOMES)
        self._refused: Recent[DecisionOutcome] = Recent(KEPT_REFUSALS)

    def __repr__(self) -> str:
        return f"Outcomes({self._recorded!r}, {self._refused!r})"

    def carried(self) -> list[tuple[str, str, DecisionOutcome]]:
        """All of them, refused ones first, each oldest first: decision id, content, outcome."""
        return [*self._refused.carried(), *self._recorded.carried()]

    def restore(self, carried: Iterable[tuple[str, str, DecisionOutcome]]) -> None:
        """Take over what was carried."""
        for decision_id, content, outcome in carried:
            self._kind(outcome).keep(decision_id, content, outcome)

    def of(self, decision_id: str) -> DecisionOutcome:
        """What became of a decision."""
        known = self._known(decision_id)
        return known[1] if known else DecisionOutcome(decision_id=decision_id, state="unknown")

    def _known(self, decision_id: str | None) -> tuple[str, DecisionOutcome] | None:
        return self._recorded.get(decision_id) or self._refused.get(decision_id)

    def _kind(self, outcome: DecisionOutcome) -> Recent[DecisionOutcome]:
        return self._refused if outcome.state == "refused" else self._recorded

    def receipt_of(self, decision: Decision, *, signed: bool = False) -> Receipt | None:
        """The receipt of the same decision, if it was recorded before.

        Args:
            decision: It.
            signed: Anybody may have sent what was refused: only what was recorded keeps its id.

        Raises:
            DecisionConflictError: Its decision id was used with other content.
        """
        known = self._known(decision.decision_id)
        if known is None:
            return None
        content, outcome = known
        if outcome.error in UNVERIFIED or (signed and outcome.state == "refused"):
            return None  # of whoever sent that nothing is known: it takes no id from anybody
        if content != content_of(decision):
            raise DecisionConflictError(
                f"decision id {decision.decision_id} was used before with other content; make a new one",
                decision_id=decision.decision_id,
            )
        return None if outcome.receipt is None else outcome.receipt.model_copy(update={"duplicate": True})

    def keep(self, decision: Decision, outcome: DecisionOutcome) -> None:
        """Keep what became of a decision that has an id, and forget the oldest beyond the limit.

        What was recorded stays so, whatever becomes of the same decision by another way.
        """
        if decision.decision_id is None:
            return
        if outcome.state == "refused" and self.of(decision.decision_id).state == "recorded":
            return
        kept = outcome.model_copy(update={"decision_id": decision.decision_id})
        self._kind(kept).keep(decision.decision_id, content_of(decision), kept)
