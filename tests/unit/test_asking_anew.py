"""What a request says that opens in place of another one: nothing that people must see or could object to is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from handfast.payloads.binding import digest_of
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import ApprovalPlan, DoubtPlan, PlannedCall
from handfast.payloads.requests import Approve, ChangedFacts, Request
from handfast.workflows.frame.frame import Call, Frame
from handfast.workflows.frame.identity import Identity
from handfast.workflows.ledger import requests
from handfast.workflows.ledger.entry import Entry

NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
ITEM: Final[JsonObject] = {"type": "function_call", "name": "wipe", "call_id": "c1", "arguments": '{"target": "a"}'}
BY_ITSELF: Final = ApprovalPlan(deadline_s=3600, on_deadline="approve")
CHANGED: Final = ChangedFacts(why="the balance is another", before=100, now=20, request="r0", by="ann")


def identity() -> Identity:
    """Of a run."""
    ids = iter(f"r{number}" for number in range(1, 10))
    return Identity("run", "first", "transcript", lambda: NOW, lambda: next(ids))


def asked(plan: ApprovalPlan | None = BY_ITSELF, **call: Any) -> tuple[Frame, Call]:
    """A loop with one call that an approval rule is about."""
    doubt = call.pop("doubt", None)
    planned = PlannedCall(index=0, kind="ask", approval=plan, doubt=doubt)
    made = Call(plan=planned, call_id="c1", tool="wipe", **call)
    return Frame(id="0", agent="desk", agent_path=["desk"], calls=[made]), made


def changed_request(frame: Frame, call: Call, run: Identity) -> Request:
    """What is asked about a call after the world has changed."""
    before = requests.for_call(frame, call, ITEM, run)
    approved = Entry(request=before, digest=before.digest, state="decided", verdict=Approve(), closed_by="ann")
    return requests.after_change(frame, call, {"target": "a"}, run, approved=approved, facts=CHANGED)


def test_silence_lets_no_call_run_whose_approval_did_not_hold() -> None:
    """P4: a default of approve is none any more once an approval could not be verified, or the world had changed:
    neither in the request that follows, nor in one for arguments that are edited then."""
    run = identity()
    frame, call = asked()
    first = requests.for_call(frame, call, ITEM, run)
    assert first.on_deadline == "approve"
    call.unproven = 1
    unproven = requests.after_failed_proof(frame, call, ITEM, run, reason="not verified", closed=first)
    assert (unproven.on_deadline, unproven.reason) == ("reject", "not verified")
    assert unproven.deadline == NOW + timedelta(hours=1)
    frame, call = asked(reasked=1)
    changed = changed_request(frame, call, run)
    assert changed.on_deadline == "reject"
    unproven = requests.after_failed_proof(frame, call, ITEM, run, reason="not verified", closed=changed)
    assert unproven.on_deadline == "reject"
    for rule in (None, BY_ITSELF):
        edited = requests.after_edit(
            frame, call, changed, arguments={"target": "b"}, rule=rule, editor="bob", identity=run
        )
        assert edited.on_deadline == "reject"


@pytest.mark.parametrize("follows", ["an edit", "an approval that is not proven"])
def test_what_has_changed_is_shown_to_whoever_is_asked_next(follows: str) -> None:
    """XG5: who is asked in place of one who was shown a difference sees it too; another call's is not shown."""
    run = identity()
    frame, call = asked(reasked=1)
    changed = changed_request(frame, call, run)
    if follows == "an edit":
        new = requests.after_edit(
            frame, call, changed, arguments={"target": "b"}, rule=None, editor="bob", identity=run
        )
    else:
        new = requests.after_failed_proof(frame, call, ITEM, run, reason="not verified", closed=changed)
        other = changed.model_copy(update={"call_id": "c2"})
        assert requests.after_failed_proof(frame, call, ITEM, run, reason="not verified", closed=other).facts is None
    assert new.facts == {"changed": CHANGED.to_wire()}


def test_a_call_in_doubt_is_brought_to_mind_by_its_own_deadline() -> None:
    """XE6: the reminders of a call in doubt are those that its own deadline leaves time for, not the approval's."""
    plan = ApprovalPlan(deadline_s=60, on_deadline="reject", remind_s=[30, 300, 3000])
    for doubt, expected in ((None, [30, 300, 3000]), (DoubtPlan(deadline_s=1000), [30, 300])):
        frame, call = asked(plan, doubt=doubt)
        request = requests.for_doubt(frame, call, ITEM, identity(), reason="?", facts={}, released=None)
        assert [(step.at - NOW).total_seconds() for step in request.schedule or ()] == expected


def test_a_request_before_the_first_reply_says_what_its_digest_covers() -> None:
    """An approver can compute the digest of a request that opens before any model reply, like that of any other."""
    frame = Frame(id="0", agent="desk", agent_path=["desk"])
    request = requests.for_missing_agent(frame, identity())
    assert (request.binding.namespace, request.binding.workflow, request.binding.run) == (None, "run", "first")
    assert request.digest == digest_of(request.binding, None)
