"""The projection of a history into events: by hand-made facts, and from the recorded histories."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from handfast.encryption.converter import tolerant
from handfast.errors import OffsetUnknownError, PayloadInvalidError
from handfast.history.events import project
from handfast.history.events.facts import (
    Closed,
    ContinuedTo,
    Fact,
    Published,
    Received,
    Remembered,
    Returned,
    Scheduled,
    Started,
)
from handfast.history.events.loops import Emitter
from handfast.history.events.projection import Projection
from handfast.history.segments import Offset, events_of
from handfast.payloads.continuation import ARCHIVE
from handfast.payloads.events import RequestDecided, RunEvent, UnknownEvent, read_event

ROOT = Path(__file__).parents[2]
HISTORIES = [
    pytest.param(path.read_text(), id=f"{path.parent.name}-{path.stem}")
    for path in sorted((ROOT / "tests/replay/histories").glob("*/*.json"))
]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def events_in(history: WorkflowHistory) -> list[RunEvent]:
    """The events of a whole history."""

    async def each() -> AsyncIterator[HistoryEvent]:
        for event in history.events:
            yield event

    return [event async for event in project("run-1", each(), tolerant(None))]


def told(*facts: Fact, run_id: str = "run-1") -> list[RunEvent]:
    """The events of hand-made facts, one for each Temporal event."""
    projection, found = Projection(run_id), []
    for number, fact in enumerate(facts, 1):
        out = Emitter(run_id, number, NOW)
        projection.take(number, fact, out)
        found += out.events
    return found


def origin(turn: int = 0, **more: Any) -> dict[str, Any]:
    """Where an activity belongs."""
    return {"workflow_run": "r", "agent": "desk", "agent_path": ["desk"], "frame": "0", "turn": turn, **more}


def request(request_id: str) -> dict[str, Any]:
    """An open request, as the memo has it."""
    about = {"id": request_id, "kind": "approval", "agent": "desk", "agent_path": ["desk"], "tool": "wipe"}
    call = {"call_id": "c1", "arguments": {"target": "temp"}, "digest": "v1:0", "frame": "0", "turn": 1}
    bound = {"namespace": "default", "workflow": "run", "run": "first"}
    return {**about, **call, "bound": bound, "requested_at": "2026-01-01T00:00:00Z", "verdicts": ["approve", "reject"]}


def step(what: str, **more: Any) -> dict[str, Any]:
    """An entry of the ledger's log."""
    return {"what": what, "at": "2026-01-01T00:00:00Z", **more}


@pytest.mark.parametrize("history", HISTORIES)
async def test_every_recorded_history_reads_as_events(history: str) -> None:
    """Each history of each release gives events in a strict order, and each event survives the way through JSON; the
    workflow that has a history archived is no run, and gives none."""
    read = WorkflowHistory.from_json("x", history)
    events = await events_in(read)
    started = read.events[0].workflow_execution_started_event_attributes
    begins = started.workflow_type.name != ARCHIVE and not started.continued_execution_run_id
    assert ("run_started" in [event.type for event in events]) is begins
    places = [Offset.parse(event.offset) for event in events]
    order = [(place.place.event_id, place.place.n) for place in places if place is not None]
    assert len(order) == len(events)
    assert order == sorted({*order})
    assert [read_event(event.to_wire()) for event in events] == events


def test_what_a_later_version_writes_is_told_as_unknown() -> None:
    """An entry of the log, or an event, of a type that this version lacks keeps its fields."""
    wiped = told(
        Started("AgentRun", [{"agent": "desk", "input": "go"}], {}, None, continued=False),
        Remembered({"r9": {"of": "another shape"}}, [step("levitated", height=3), "no object", step("opened")]),
        Scheduled("handfast.later", {"origin": "none"}, ""),
        Scheduled("handfast.evaluate", {"kind": "of a later version", "origin": origin()}, ""),
        Returned(4, {"text": 7}),
        Published("levitating"),
        Received("send", [{"text": "hello"}]),
    )
    assert [event.type for event in wiped] == ["run_started", "levitated"]
    unknown = wiped[1]
    assert isinstance(unknown, UnknownEvent)
    assert unknown.to_wire()["height"] == 3
    assert read_event(unknown.to_wire()) == unknown


def test_what_is_no_event_is_refused() -> None:
    """Reading JSON that is no event is a typed error that names the field."""
    with pytest.raises(PayloadInvalidError, match="offset"):
        read_event({"type": "turn_started"})
    with pytest.raises(PayloadInvalidError):
        read_event(["no", "event"])


def test_a_segment_begins_with_what_the_one_before_left_open() -> None:
    """After a continue-as-new the open requests are known from the memo, and a decision is told with its call."""
    events = told(
        Started("AgentRun", [{"carried": "over"}], {"r1": request("r1")}, "waiting", continued=True),
        Received("decide", [{"id": "r1", "verdict": {"kind": "reject", "reason": "no"}, "decided_by": "lead"}]),
        Remembered({"r1": None}, [step("decided", request="r1", verdict="reject", by="lead", why="no")]),
        Scheduled("handfast.call_model", {"origin": origin(turn=1), "ids": []}, ""),
        ContinuedTo("run-2"),
    )
    assert [event.type for event in events] == [
        "request_decided",
        "tool_not_run",
        "status",
        "turn_started",
        "continued",
    ]
    decided = events[0]
    assert isinstance(decided, RequestDecided)
    assert (decided.tool, decided.call_id, decided.by, decided.why) == ("wipe", "c1", "lead", "no")


class Segmented:
    """A chain of two segments."""

    def __init__(self) -> None:
        self.waited: list[bool] = []

    async def first(self) -> str:
        return "run-1"

    async def check(self, offset: Offset) -> None:
        assert offset.run_id in ("run-1", "run-2")

    async def events(self, run_id: str, *, wait: bool) -> AsyncIterator[RunEvent]:
        self.waited.append(wait)
        start = Started("AgentRun", [{"agent": "desk", "input": "go"}], {}, None, continued=run_id != "run-1")
        ask = Scheduled("handfast.call_model", {"origin": origin(turn=0 if run_id == "run-1" else 1), "ids": []}, "")
        end: Fact = ContinuedTo("run-2")
        if run_id == "run-2":
            end = Closed("completed", value={"output": "done", "agent": "desk", "turns": 2})
        for event in told(start, ask, end, run_id=run_id):
            yield event


async def test_readers_go_on_over_a_continue_as_new() -> None:
    """The segments of a chain are read as one, from the start or from any offset, and where they meet is not seen."""
    whole = [event async for event in events_of(Segmented(), "w", after=None, wait=False)]
    assert [event.type for event in whole] == ["run_started", "turn_started", "turn_started", "run_finished"]
    assert [event.offset for event in whole] == ["run-1:1.0", "run-1:2.0", "run-2:2.0", "run-2:3.0"]
    for place, event in enumerate(whole):
        rest = [each async for each in events_of(Segmented(), "w", after=event.offset, wait=False)]
        assert rest == whole[place + 1 :]


async def test_an_offset_behind_the_end_of_a_segment_is_refused() -> None:
    """A place that a history never had is no place in the run, although another history follows."""
    with pytest.raises(OffsetUnknownError, match="no place"):
        _ = [event async for event in events_of(Segmented(), "w", after="run-1:99.0", wait=False)]
