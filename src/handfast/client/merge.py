"""Merge a run's events and deltas into one order. Pure: equal input, equal output."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from handfast.deltas.reader import Position, Told
from handfast.history.segments import Offset, Place
from handfast.payloads import events
from handfast.payloads.deltas import Delta, DeltasDiscarded, call_of_attempt, number_of_attempt, segment_of
from handfast.payloads.events import RunEvent
from handfast.payloads.model_call import REPLY_BROKEN

Item: TypeAlias = RunEvent | Delta | DeltasDiscarded

SEPARATOR: Final = "/"
"""Between an event's offset and the position of a delta, in what a reader goes on from."""
FIRST: Final = Place(1, 0)
ASKED_AGAIN: Final = (REPLY_BROKEN, "AgentMissing", "Cancelled", "NotFoundError", "TimeoutScheduleToClose")
"""Failures of a model call after which the same turn may be asked for at once: *Cancelled* by a message sent now."""
ENDS_SOMETHING: Final = (
    events.ModelReplied,
    events.ModelFailed,
    events.ToolOutput,
    events.ToolFailed,
    events.ToolAsked,
    events.ToolCancelled,
    events.AgentFinished,
    events.MessageAnswered,
    events.RunFinished,
    events.WorkflowFinished,
    events.WorkflowRetried,
)
"""Deltas that were said before one of these are shown before it, or never."""


@dataclass(frozen=True)
class Cursor:
    """The place of a reader of both: ``<offset>``, or ``<offset>/<position>``."""

    offset: str
    position: Position | None = None

    def __str__(self) -> str:
        return self.offset if self.position is None else f"{self.offset}{SEPARATOR}{self.position}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read a cursor.

        Raises:
            ValueError: The position is none; the offset is not looked at.
        """
        offset, _, position = text.partition(SEPARATOR)
        return cls(offset, Position.parse(position) if position else None)


@dataclass
class _Loop:
    """One agent loop, as the events show it.

    Attributes:
        turn: That has begun last.
        replied: Its reply is there.
        calls: The calls of that turn: True for those that run.
        shown: The attempt whose words stand on the screen.
        said: The attempt whose words the reply of this turn has taken the place of.
        void: Attempts of this turn whose words are not to be shown any more.
        call: The model call that speaks: another one of the same turn is told of by the failure of this one.
        rests: Its model call has failed, or a session's message was answered: a message may begin this turn anew.
    """

    turn: int = 0
    replied: bool = True
    calls: dict[str, bool] = field(default_factory=dict)
    shown: Delta | None = None
    said: Delta | None = None
    void: set[str] = field(default_factory=set)
    call: str | None = None
    rests: bool = False


class Merger:
    """Lets each delta wait for its turn to begin, and drops what comes after its end.

    Deltas keep their own order: one that waits holds up those behind it, which is short, as the event that it waits for
    was recorded before it was said.

    Attributes:
        cursor: The place from which a reader goes on who has had everything up to now.
    """

    def __init__(self, after: Cursor | None) -> None:
        """Begin behind *after*: events and deltas before it are read, and not given out again."""
        self.cursor = Cursor("") if after is None else after
        self._after = after
        self._behind = after is None or _is_first(after.offset)
        self._loops: dict[str, _Loop] = {}
        self._had: dict[str, Delta] = {}
        self._backlog: deque[Told] = deque()
        self._segment = ""

    def tell(self, told: Told) -> None:
        """Take a delta, in the order of the stream."""
        position, record = told
        if self._after is not None and self._after.position is not None and position <= self._after.position:
            self._had_already(record)
        else:
            self._backlog.append(told)

    def _had_already(self, record: Delta | DeltasDiscarded) -> None:
        """Note the delta that a reader who goes on had last."""
        loop, had = self._loop(record.frame), self._had.get(record.frame)
        if isinstance(record, DeltasDiscarded):
            if had is not None and had.attempt == record.attempt:
                del self._had[record.frame]
            if loop.shown is not None and loop.shown.attempt == record.attempt:
                loop.shown = None
            loop.void.add(record.attempt)
        elif record.kind != "tool_progress":
            self._had[record.frame] = record
            if record.turn == loop.turn and not loop.replied:
                loop.shown = record

    def ready(self) -> list[Item]:
        """Return the deltas that may be shown now."""
        items: list[Item] = []
        while self._behind and self._backlog:
            position, record = self._backlog[0]
            if self._waits(record):
                break  # it holds up those behind it: so one position says what a reader has had
            self._backlog.popleft()
            shown = self._shown(record)
            # Whoever has had the words that are void, and not yet those that replace them, gets these again.
            items += [self._placed(item) for item in shown[:-1]]
            self.cursor = Cursor(self.cursor.offset, position)
            items += [self._placed(item) for item in shown[-1:]]
        return items

    def event(self, event: RunEvent) -> list[Item]:
        """Take an event; return it behind the deltas that it lets pass, and without those that came too late."""
        items: list[Item] = self.ready() if isinstance(event, ENDS_SOMETHING) else []
        discarded: list[Item] = []
        self._take(event, discarded)
        if self._after is None or _order(event.offset, self._after.offset) > 0:
            self._behind = True
            items += [self._placed(each) for each in discarded]
            self.cursor = Cursor(event.offset, self.cursor.position)
            items.append(self._placed(event))
        elif _order(event.offset, self._after.offset) == 0:
            self._behind = True
        return items + self.ready()

    # --- events ---

    def _take(self, event: RunEvent, items: list[Item]) -> None:
        self._segment = event.offset.partition(":")[0]
        match event:
            case events.TurnStarted() | events.ModelReplied() | events.ModelFailed():
                self._take_model(event, items)
            case events.GuardrailSpoke(kind="output") if event.outcome != "allow":
                self._withdraw(self._loop(event.frame), items)
            case events.ToolCalled():
                self._loop(event.frame).calls[event.call_id] = True
            case events.ToolOutput() | events.ToolFailed() | events.ToolCancelled():
                self._loop(event.frame).calls[event.call_id] = False
            case events.AgentFinished() | events.RunFinished():
                self._end(self._loop(event.frame), items)
            case events.MessageAnswered(frame=str(frame)):
                self._discard(self._loop(frame), items)
                self._loop(frame).rests = True
            case events.MessagePlaced(frame=str(frame)):
                self._loop(frame).rests = False
            case events.WorkflowFinished():
                self._end_all(items)
            case events.WorkflowRetried():
                self._end_all(items)
                self._loops.clear()  # agents begin anew, under the same frames
            case _:
                pass

    def _take_model(
        self, event: events.TurnStarted | events.ModelReplied | events.ModelFailed, items: list[Item]
    ) -> None:
        loop = self._loop(event.frame)
        match event:
            case events.TurnStarted():
                if event.turn != loop.turn:
                    shown = self._had_of(event.frame, event.turn)
                    self._loops[event.frame] = _Loop(event.turn, replied=False, shown=shown)
            case events.ModelReplied():
                loop.said = loop.shown or self._had_of(event.frame, event.turn)
                loop.turn, loop.replied, loop.shown = max(loop.turn, event.turn), True, None
            case events.ModelFailed():
                self._discard(loop, items)
                loop.call = None
                loop.rests = event.failure not in ASKED_AGAIN

    def _had_of(self, frame: str, turn: int) -> Delta | None:
        had = self._had.get(frame)
        return had if had is not None and had.turn == turn else None

    def _end_all(self, items: list[Item]) -> None:
        for loop in self._loops.values():
            self._end(loop, items)

    def _end(self, loop: _Loop, items: list[Item]) -> None:
        self._discard(loop, items)
        loop.replied = True
        loop.calls = dict.fromkeys(loop.calls, False)

    def _loop(self, frame: str) -> _Loop:
        return self._loops.setdefault(frame, _Loop())

    # --- deltas ---

    def _waits(self, delta: Delta | DeltasDiscarded) -> bool:
        """Return True while the event is still to come after which the delta counts."""
        if not self._segment.endswith(segment_of(delta.attempt)):
            # Of another segment: of a later one, unless this one has spoken behind it.
            return not any(self._segment.endswith(segment_of(record.attempt)) for _, record in self._backlog)
        loop = self._loop(delta.frame)
        if delta.turn > loop.turn or isinstance(delta, DeltasDiscarded):
            return delta.turn > loop.turn
        if delta.turn == loop.turn and not loop.replied and delta.kind != "tool_progress":
            another = loop.call is not None and loop.call != call_of_attempt(delta.attempt)
            return (another or loop.rests) and delta.attempt not in loop.void
        if delta.kind == "tool_progress" and delta.turn == loop.turn:
            return (delta.call_id or "") not in loop.calls
        return False

    def _shown(self, record: Delta | DeltasDiscarded) -> list[Item]:
        items: list[Item] = []
        loop = self._loop(record.frame)
        if not self._segment.endswith(segment_of(record.attempt)) or record.turn != loop.turn:
            return items
        if isinstance(record, DeltasDiscarded):
            if loop.shown is not None and loop.shown.attempt == record.attempt:
                self._discard(loop, items)
            if record.attempt not in loop.void:
                loop.call = loop.call or call_of_attempt(record.attempt)
            loop.void.add(record.attempt)
        elif record.kind == "tool_progress":
            if loop.calls.get(record.call_id or ""):
                items.append(record)
        elif not loop.replied and record.attempt not in loop.void:
            shown = loop.shown
            if shown is not None and shown.attempt != record.attempt:
                # The attempt's number decides which one speaks: the mark that discards the earlier one may be lost.
                if _is_older(record.attempt, shown.attempt):
                    return items  # of a worker that was given up, and does not know it
                self._discard(loop, items)
            loop.shown, loop.call = record, call_of_attempt(record.attempt)
            items.append(record)
        return items

    def _discard(self, loop: _Loop, items: list[Item]) -> None:
        if loop.shown is None:
            return
        place = loop.shown.model_dump(include=set(DeltasDiscarded.model_fields) - {"type", "offset"})
        items.append(DeltasDiscarded(**place))
        loop.void.add(loop.shown.attempt)
        loop.shown = None

    def _withdraw(self, loop: _Loop, items: list[Item]) -> None:
        """Say that the words of an answer are void, which a guardrail has blocked or put others in the place of."""
        loop.shown, loop.said = loop.said, None
        self._discard(loop, items)

    def _placed(self, item: Item) -> Item:
        return item.model_copy(update={"offset": str(self.cursor)})


def _order(offset: str, after: str) -> int:
    """Compare an event with the one that the reader had last: before it (-1), the same (0), behind it (1)."""
    here, last = Offset.parse(offset), Offset.parse(after)
    if here is None or last is None or here.run_id != last.run_id:
        return 1
    return (here.place > last.place) - (here.place < last.place)


def _is_first(offset: str) -> bool:
    """Return True for the offset of a segment's first event, behind which its reader begins."""
    here = Offset.parse(offset)
    return here is not None and here.place <= FIRST


def _is_older(attempt: str, other: str) -> bool:
    return call_of_attempt(attempt) == call_of_attempt(other) and number_of_attempt(attempt) < number_of_attempt(other)
