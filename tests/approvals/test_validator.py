"""Fault row XC3: checking a decision changes nothing."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import datetime, timedelta

from hypothesis import HealthCheck, given, settings, strategies as st

from handfast.errors import RefusalError
from handfast.payloads.requests import Approve, Decision, Reject
from handfast.workflows.handlers.decode import read_decision, read_shorthand
from handfast.workflows.ledger.ledger import Ledger
from support.validation import NOW, arguments, request


def book() -> Ledger:
    """A ledger with a request in every state, and decision ids that are taken."""
    ledger = Ledger()
    ledger.book.open(request("open"))
    ledger.book.open(request("due", deadline=NOW + timedelta(hours=2)))
    ledger.book.open(request("doubt", kind="in_doubt", verdicts=["ran", "run_again", "give_up"]))
    ledger.book.open(request("checking"))
    ledger.book.hold(Decision(id="checking", verdict=Approve(arguments={"target": "x"}), decided_by="lead"))
    ledger.book.open(request("approved"))
    ledger.record(Decision(id="approved", verdict=Approve(), decided_by="lead", decision_id="d1"), NOW)
    ledger.book.open(request("withdrawn"))
    ledger.book.withdraw("withdrawn", NOW, "the run was cancelled")
    ledger.book.open(request("expired", deadline=NOW + timedelta(hours=1)))
    ledger.book.expire(NOW + timedelta(hours=1))
    late = Decision(id="unknown", verdict=Reject(), decided_by="lead", decision_id="d2")
    with suppress(RefusalError):
        ledger.check(late, NOW)
    ledger.refuse(late, RefusalError("there is no such request"), NOW)
    return ledger


def state_digest(ledger: Ledger) -> str:
    """Everything that the ledger holds, as one hash."""
    return hashlib.sha256(repr(sorted(vars(ledger).items())).encode()).hexdigest()


times = st.sampled_from([NOW, NOW + timedelta(hours=2), NOW + timedelta(days=9)])


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(args=arguments, now=times)
def test_checking_a_decision_changes_nothing(args: list[object], now: datetime) -> None:
    """XC3: the validator leaves the ledger as it was, and answers with nothing but typed refusals."""
    ledger = book()
    before = state_digest(ledger)
    with suppress(RefusalError):
        ledger.check(read_decision(args), now)
    with suppress(RefusalError):
        ledger.check(read_shorthand("approve", args), now)
    assert state_digest(ledger) == before


def test_the_digest_sees_a_recorded_decision() -> None:
    """XC3: what this row compares would show it if a check recorded something."""
    ledger = book()
    before = state_digest(ledger)
    ledger.record(Decision(id="open", verdict=Approve(), decided_by="lead"), NOW)
    assert state_digest(ledger) != before
