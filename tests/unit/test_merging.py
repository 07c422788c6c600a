"""The one order of events and deltas, with what a network can do to deltas: late, doubled, lost, out of their time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from handfast.client.merge import Cursor, Item, Merger
from handfast.deltas.reader import Position
from handfast.payloads.deltas import Delta, DeltasDiscarded, attempt_id
from handfast.payloads.events import (
    MessageAnswered,
    MessagePlaced,
    ModelFailed,
    ModelReplied,
    RunEvent,
    RunFinished,
    TurnStarted,
)

RUN = "01a1fb13-6d78-7679-a19a-981868d1aec9"
LATER = "01a1fb13-6d78-7679-a19a-000000000002"


def event(kind: type[Any], number: int, *, turn: int = 1, run: str = RUN, **fields: Any) -> RunEvent:
    """An event of the run's own loop."""
    place = {"frame": "0", "agent": "desk", "agent_path": ["desk"], "turn": turn}
    made: RunEvent = kind(offset=f"{run}:{number}.0", at=datetime(2026, 1, 1, tzinfo=UTC), **place, **fields)
    return made


def replied(number: int, turn: int = 1) -> RunEvent:
    """A reply."""
    return event(ModelReplied, number, turn=turn, text="whole", block="b")


def delta(seq: int, words: str = "x", *, attempt: int = 1, turn: int = 1, activity: str = "1", run: str = RUN) -> Delta:
    """A piece of text."""
    place: dict[str, Any] = {"run": RUN, "frame": "0", "agent_path": ["desk"], "turn": turn}
    return Delta(**place, attempt=attempt_id(run, activity, attempt), seq=seq, kind="text", item=0, text=words)


class Stream:
    """Gives positions to what is told."""

    def __init__(self, merger: Merger) -> None:
        self._merger = merger
        self._last = 0

    def tell(self, *records: Delta | DeltasDiscarded) -> list[Item]:
        """Tell, and take what may be shown."""
        for record in records:
            self._last += 1
            self._merger.tell((Position((self._last, 0), 0), record))
        return self._merger.ready()


def words(items: list[Item]) -> list[str]:
    """Texts of deltas, types of the others."""
    return [item.text if isinstance(item, Delta) else item.type for item in items]


def test_words_wait_for_their_turn_and_never_come_after_it() -> None:
    """Early ones wait; those that come after the reply are dropped."""
    merger = Merger(None)
    stream = Stream(merger)
    assert stream.tell(delta(0, "early")) == []
    assert words(merger.event(event(TurnStarted, 5))) == ["turn_started", "early"]
    assert words(stream.tell(delta(1, "on"))) == ["on"]
    assert words(merger.event(replied(9))) == ["model_reply"]
    assert stream.tell(delta(2, "late")) == []
    assert stream.tell(delta(0, "next", turn=2)) == []
    assert words(merger.event(event(TurnStarted, 12, turn=2))) == ["turn_started", "next"]


def test_a_worker_that_was_given_up_is_not_heard_any_more() -> None:
    """Once a later attempt speaks, the earlier one's words are void, and what it still says is dropped; also where the
    mark that says so is lost, or comes twice."""
    merger = Merger(None)
    stream = Stream(merger)
    merger.event(event(TurnStarted, 5))
    assert words(stream.tell(delta(0, "a"), delta(0, "b", attempt=2))) == ["a", "deltas_discarded", "b"]
    assert stream.tell(delta(1, "zombie")) == []
    mark = DeltasDiscarded(run=RUN, frame="0", agent_path=["desk"], turn=1, attempt=attempt_id(RUN, "1", 1))
    assert stream.tell(mark, mark) == []
    assert words(stream.tell(delta(1, "c", attempt=2))) == ["c"]
    assert words(merger.event(replied(9))) == ["model_reply"]


def test_a_failed_call_and_a_run_that_ends_discard_what_was_written() -> None:
    """Nothing that is not part of a reply stays on the screen, whether or not the worker could say so."""
    merger = Merger(None)
    stream = Stream(merger)
    merger.event(event(TurnStarted, 5))
    stream.tell(delta(0, "a"))
    failed = event(ModelFailed, 7, failure="ModelReplyBroken", message="empty")
    assert words(merger.event(failed)) == ["deltas_discarded", "model_failed"]
    assert words(stream.tell(delta(1, "late"), delta(0, "b", activity="2"))) == ["b"]
    ended = event(RunFinished, 9, status="cancelled")
    assert words(merger.event(ended)) == ["deltas_discarded", "run_finished"]
    assert stream.tell(delta(1, "late", activity="2")) == []


def test_words_for_the_next_message_wait_until_it_is_placed() -> None:
    """A session's turn that failed is made anew for the next message, and belongs to that one from its first word."""
    merger = Merger(None)
    stream = Stream(merger)
    merger.event(event(TurnStarted, 5))
    stream.tell(delta(0, "a"))
    merger.event(event(ModelFailed, 7, failure="ModelRefused", message="no"))
    at = datetime(2026, 1, 1, tzinfo=UTC)
    merger.event(MessageAnswered(offset=f"{RUN}:8.0", at=at, message="m1", status="failed", frame="0"))
    assert stream.tell(delta(1, "late"), delta(0, "b", activity="2")) == []
    placed = MessagePlaced(offset=f"{RUN}:9.0", at=at, message="m2", frame="0")
    assert words(merger.event(placed)) == ["message_placed", "b"]


def test_words_of_other_histories_of_the_run_hold_nothing_up() -> None:
    """A reader that begins in a later history drops what was said in the earlier one, and waits for what comes."""
    merger = Merger(Cursor(f"{LATER}:1.0"))
    stream = Stream(merger)
    assert stream.tell(delta(0, "old")) == []
    merger.event(event(TurnStarted, 5, turn=2, run=LATER))
    assert words(stream.tell(delta(0, "new", turn=2, run=LATER))) == ["new"]


@pytest.mark.parametrize("text", ["a:1.0/x", "a:1.0/1-0", "a:1.0/1-.0", "a:1.0/-1.0"])
def test_a_position_that_is_none_is_refused(text: str) -> None:
    """Whoever reads a cursor hears so at once."""
    with pytest.raises(ValueError):
        Cursor.parse(text)


@given(st.data())
def test_any_reader_may_go_on_from_anything_it_had(data: st.DataObject) -> None:
    """However events and deltas come in between each other, and wherever a reader left, it gets the rest, once."""
    happened: list[RunEvent | Delta] = []
    for turn in range(1, data.draw(st.integers(1, 3)) + 1):
        happened.append(event(TurnStarted, 10 * turn, turn=turn))
        for attempt in range(1, data.draw(st.integers(1, 3)) + 1):
            count = data.draw(st.integers(0, 3))
            happened += [delta(at, f"{turn}.{attempt}.{at} ", attempt=attempt, turn=turn) for at in range(count)]
        happened.append(replied(10 * turn + 5, turn))
    events = [each for each in happened if not isinstance(each, Delta)]
    deltas = [each for each in happened if isinstance(each, Delta)]

    def read(after: str | None) -> list[Item]:
        merger = Merger(None if after is None else Cursor.parse(after))
        stream = Stream(merger)
        items: list[Item] = []
        at, told = 0, 0
        while at < len(events):
            ahead = data.draw(st.integers(0, len(deltas) - told))
            if isinstance(events[at], ModelReplied):  # what was said before it is there by then
                said = sum(1 for each in happened[: happened.index(events[at])] if isinstance(each, Delta))
                ahead = max(ahead, said - told)
            items += stream.tell(*deltas[told : told + ahead])
            told += ahead
            items += merger.event(events[at])
            at += 1
        return items

    whole = read(None)
    assert [each.text for each in whole if isinstance(each, Delta)] == [each.text for each in deltas]
    for place in range(len(whole)):
        rest = read(whole[place].offset)
        expected = whole[place + 1 :]
        if isinstance(whole[place], DeltasDiscarded):
            assert rest[-len(expected) :] == expected
        else:
            assert rest == expected
