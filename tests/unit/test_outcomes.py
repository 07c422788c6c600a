"""What became of decisions: whoever asks for one that was recorded is told, whatever came in since."""

from __future__ import annotations

import pytest

from handfast.payloads.requests import Approve, Decision, DecisionOutcome
from handfast.workflows.ledger import outcomes
from handfast.workflows.ledger.outcomes import Outcomes, OutcomesState
from support.books import NOW, book, decision, take


def test_a_flood_of_refusals_pushes_out_nothing_that_was_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """XD4: recorded decisions are still answered for after any number of refused ones, in a fresh history too; of the
    refused ones the newest are kept."""
    monkeypatch.setattr(outcomes, "KEPT_REFUSALS", 3)
    ledger = book()
    made = decision(Approve(), decision_id="d-1")
    take(ledger, made, NOW)
    recorded = ledger.outcomes.of("d-1")
    state = OutcomesState()
    kept = Outcomes(state)
    kept.keep(made, recorded)
    for number in range(2 * outcomes.KEPT_OUTCOMES):
        kept.keep(_sent(number), DecisionOutcome(decision_id="", state="refused", error="UnknownRequestError"))
    carried = OutcomesState.model_validate_json(state.model_dump_json())
    assert (len(carried.recorded), len(carried.refused)) == (1, 3)
    after = Outcomes(carried)
    for each in (kept, after):
        assert each.of("d-1").receipt == recorded.receipt
        again = each.receipt_of(made)
        assert again is not None
        assert again.duplicate
        last = 2 * outcomes.KEPT_OUTCOMES - 1
        assert [each.of(f"x-{number}").state for number in (last - 3, last - 2, last)] == [
            *("unknown", "refused", "refused")
        ]


def _sent(number: int) -> Decision:
    return decision(Approve(), by="mallory", request_id="none", decision_id=f"x-{number}")
