"""The ledger, pure: what a decision changes, and what it cannot change any more."""

from __future__ import annotations

from datetime import timedelta

import pytest

from handfast.errors import (
    DeadlinePassedError,
    KeysUnavailableError,
    RememberRefusedError,
    RequestClosedError,
    UnknownRequestError,
)
from handfast.payloads.remember import Remember
from handfast.payloads.requests import Approve, GiveUp, Ran, Reject, RunAgain, Verdict
from handfast.workflows.ledger.ledger import Ledger, LedgerState
from support.books import LATER, NOW, book, decision, request, take


def test_a_vote_counts_only_before_the_deadline() -> None:
    """P8: one of two approvals in time is none: the second one is refused, and the default applies."""
    ledger = book(request(quorum=2, deadline=LATER))
    assert take(ledger, decision(Approve(), "ann")).open
    with pytest.raises(DeadlinePassedError):
        take(ledger, decision(Approve(), "bob"), LATER)
    [entry] = ledger.book.expire(LATER)
    assert (entry.state, entry.verdict) == ("expired", Reject(reason="Nobody decided in time."))


@pytest.mark.parametrize("late", [RunAgain(), Ran()])
def test_a_late_word_runs_nothing_again(late: Verdict) -> None:
    """P4: past the deadline of a call in doubt nobody runs it again or says that it ran; to give up still counts, and
    is what silence becomes."""
    ledger = book(
        request(kind="in_doubt", verdicts=["ran", "run_again", "give_up"], deadline=LATER, on_deadline="give_up"),
        request("r2", kind="in_doubt", verdicts=["ran", "run_again", "give_up"], deadline=LATER, on_deadline="fail"),
    )
    with pytest.raises(DeadlinePassedError):
        take(ledger, decision(late), LATER)
    take(ledger, decision(GiveUp(), request_id="r2"), LATER)
    [entry] = ledger.book.expire(LATER)
    assert (entry.request.id, entry.state, entry.verdict) == ("r1", "expired", GiveUp())


def test_the_second_decision_reads_who_decided() -> None:
    """B6: the first valid decision wins; the second is told by whom, how and when it was decided."""
    ledger = book()
    take(ledger, decision(Approve(), "ann"))
    with pytest.raises(RequestClosedError, match=r"r1 was decided \(approve\) by ann at 2026-01-01") as refused:
        take(ledger, decision(Reject(), "bob"), LATER)
    assert (refused.value.facts["closed_by"], refused.value.facts["verdict"]) == ("ann", "approve")


def test_what_was_recorded_is_not_said_to_be_refused() -> None:
    """XB1: a decision that came twice, and could not be verified the second time, is still told as recorded."""
    ledger = book(request())
    made = decision(Approve(), decision_id="d-1")
    take(ledger, made)
    ledger.refuse(made, KeysUnavailableError("nobody could verify it", request="r1"), NOW)
    assert ledger.outcomes.of("d-1").state == "recorded"
    again = ledger.receipt_of(made)
    assert again is not None
    assert again.duplicate


def test_nobody_takes_a_decision_id_by_what_is_refused() -> None:
    """XK1: in a run that takes signed decisions, a stranger's signal under the id of one to come keeps it from
    nobody."""
    ledger = book(request())
    ledger.state.signed = True
    stranger = decision(Approve(), by="mallory", request_id="r9", decision_id="d-1")
    with pytest.raises(UnknownRequestError) as refused:
        ledger.check(stranger, NOW)
    ledger.refuse(stranger, refused.value, NOW)
    assert ledger.receipt_of(decision(Approve(), decision_id="d-1")) is None


def test_a_standing_approval_ends_when_it_said() -> None:
    """XK4: a decision that is remembered for two calls answers two, waiting ones among them, in a fresh history too;
    one that is remembered until a time none from then on; one that would be over at once is refused."""
    ledger = book(request(), request("r2"))
    take(ledger, decision(Approve(), remember=Remember(of="tool", uses=2)))
    ledger.answer_siblings(NOW)
    assert ledger.book.entries["r2"].state == "decided"
    after = Ledger(LedgerState.model_validate_json(ledger.state.carried(()).model_dump_json()))
    answered = [after.recall(request(f"r{number}"), {}, f"c{number}", NOW) is not None for number in (3, 4)]
    assert answered == [True, False]
    after.book.open(request("r4"))
    after.answer_siblings(NOW)
    assert after.book.waits("r4")

    with pytest.raises(RememberRefusedError, match="has passed"):
        take(after, decision(Approve(), request_id="r4", remember=Remember(of="tool", until=NOW)))
    take(after, decision(Approve(), request_id="r4", remember=Remember(of="tool", until=LATER)))
    just_before = LATER - timedelta(milliseconds=1)
    assert after.recall(request("r5"), {}, "c5", just_before) is not None
    assert after.recall(request("r6"), {}, "c6", LATER) is None
    assert len(after.standing) == 1
