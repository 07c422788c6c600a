"""What goes on in a fresh history, as data."""

from __future__ import annotations

from hypothesis import given, strategies as st

from handfast.payloads.remember import Remember
from handfast.payloads.requests import Approve, Decision, Reject
from handfast.workflows.continuation.packs import loose_in, put_pack
from handfast.workflows.frame.frame import Frame
from handfast.workflows.ledger.ledger import Ledger, LedgerState
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
