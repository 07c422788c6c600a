"""What goes on in a fresh history, as data."""

from __future__ import annotations

from hypothesis import given, strategies as st

from handfast.payloads.messages import MessageReceipt
from handfast.payloads.notify import Notification
from handfast.payloads.remember import Remember
from handfast.payloads.requests import Approve, Decision, Reject
from handfast.payloads.usage import RequestUsage, Usage
from handfast.workflows.continuation.packs import loose_in, put_pack
from handfast.workflows.frame.frame import Frame, Queued
from handfast.workflows.frame.table import FrameTable
from handfast.workflows.ledger.ledger import Ledger, LedgerState
from handfast.workflows.state.deployment import Deployment
from handfast.workflows.state.mailbox import MailboxState
from handfast.workflows.state.notifications import NotifierState
from handfast.workflows.state.run_state import RunState
from handfast.workflows.state.segment import SegmentState
from handfast.workflows.state.session_state import SessionState
from handfast.workflows.state.transcript import TranscriptState
from handfast.workflows.tasks.intake import SignalTally
from support.requests import NOW, request


@given(st.lists(st.booleans(), max_size=12), st.lists(st.booleans(), max_size=12), st.integers(0, 12))
def test_packs_leave_a_conversation_as_it_was(earlier: list[bool], blocks: list[bool], seen: int) -> None:
    """Whatever was put aside in between, every block stands once, in its order, alone or in one pack."""
    packs: dict[str, list[str]] = {}
    count = iter(range(100))

    def made(packed: bool) -> str:
        name = str(next(count))
        if packed:
            packs[name] = [f"{name}a", f"{name}b"]
        return name

    def whole(names: list[str]) -> list[str]:
        return [each for name in names for each in packs.get(name, [name])]

    frame = Frame(id="0", agent="desk", agent_path=["desk"])
    frame.earlier, frame.blocks = [made(each) for each in earlier], [made(each) for each in blocks]
    frame.cursor = min(seen, len(frame.blocks))
    frame.seen = frame.blocks[frame.cursor - 1] if frame.cursor else None
    before = whole(frame.earlier), whole(frame.blocks[: frame.cursor]), whole(frame.blocks[frame.cursor :])
    for part in (list(frame.earlier), frame.blocks[: frame.cursor]):
        for loose in loose_in(part, packs.__contains__):
            name = f"p{next(count)}"
            packs[name] = loose
            put_pack(frame, loose, name)
    assert (whole(frame.earlier), whole(frame.blocks[: frame.cursor]), whole(frame.blocks[frame.cursor :])) == before
    assert all(each in packs for each in [*frame.earlier, *frame.blocks[: frame.cursor]])
    assert frame.seen == (frame.blocks[frame.cursor - 1] if frame.cursor else None)


def test_a_remembered_decision_answers_requests_that_were_taken_along() -> None:
    """Where a run left its history right after it, the open requests are answered in the next one."""
    ledger = Ledger()
    for each in ("first", "second"):
        ledger.book.open(request(each))
    ledger.record(Decision(id="first", verdict=Approve(), decided_by="lead", remember=Remember(of="tool")), NOW)
    following = Ledger(LedgerState.model_validate_json(ledger.state.carried(()).model_dump_json()))
    following.answer_siblings(NOW)
    assert following.book.open_requests() == []


def test_a_check_that_is_under_way_is_waited_for_although_a_rejection_came_first() -> None:
    """A rejection closes a request whose edit is being checked; until that check is over nothing is quiet."""
    ledger = Ledger()
    ledger.book.open(request("one"))
    edit = Decision(id="one", verdict=Approve(arguments={"target": "other"}), decided_by="editor")
    ledger.book.hold(edit)
    ledger.record(Decision(id="one", verdict=Reject(), decided_by="lead"), NOW)
    assert ledger.book.busy
    ledger.release(edit)
    assert not ledger.book.busy


def test_all_that_lasts_of_a_run_goes_into_a_fresh_history() -> None:
    """A fresh history begins with every field of the state: one that is added, here too, is carried like the others."""
    ledger = Ledger()
    ledger.book.open(request("one"))
    ledger.book.open(request("two"))
    made = Decision(id="one", verdict=Approve(), decided_by="lead", decision_id="d1", remember=Remember(of="tool"))
    ledger.record(made, NOW)
    notification = {"id": "one:opened", "what": "opened", "at": NOW, "run": "r", "request": request("one")}
    usage = RequestUsage(agent="desk", agent_path=["desk"], turn=1, model="m", usage=Usage(requests=1))
    state = RunState(
        frames=FrameTable(all=[Frame(id="0", agent="desk", agent_path=["desk"], driven=True)], next_id=1),
        labels={"team": "ops"},
        stop_first="enough",
        ledger=ledger.state,
        transcript=TranscriptState(blocks={"b": [{"type": "message"}]}),
        mailbox=MailboxState(
            known={"m": ("digest", MessageReceipt(id="m", state="queued", at=NOW))},
            early=[Queued(id="m", block="b", size=1)],
        ),
        notifier=NotifierState(untold=[Notification.model_validate(notification)]),
        spending=[("0", usage)],
        deployment=Deployment(archives=True),
        segment=SegmentState(left_version="desk.1"),
        shown={"two": 1},
        signals=SignalTally(refused={"decide": 1}),
        session=SessionState(frame="0", answering=["m"]),
    )
    begun = RunState()
    assert [name for name in RunState.model_fields if getattr(state, name) == getattr(begun, name)] == []
    assert RunState.model_validate_json(state.model_dump_json()) == state
