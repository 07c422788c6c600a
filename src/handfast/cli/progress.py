"""Build the progress of a run from its history: no worker is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter

from handfast.history.reader import ledger_changes
from handfast.payloads.requests import Request
from handfast.payloads.tool_call import CALL_TYPES, MCP_TYPE, TOOL_TYPE, ToolProgress

TOOL: Final = TOOL_TYPE
MODEL: Final = "handfast.call_model"

_ENDINGS: Final = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: ("activity_task_completed_event_attributes", "done"),
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED: ("activity_task_failed_event_attributes", "failed"),
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: ("activity_task_timed_out_event_attributes", "timed out"),
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED: ("activity_task_canceled_event_attributes", "cancelled"),
}
_OUTCOMES: Final = {
    "ok": "done",
    "error": "failed",
    "unknown": "outcome unknown",
    "not_begun": "not begun",
    "asked": "asks",
}


@dataclass
class Step:
    """One activity of the run: a model call or a tool call."""

    kind: str
    agent: str
    turn: int
    state: str = "running"


@dataclass
class Progress:
    """The state of one run, built event by event.

    Attributes:
        begun: True once a worker has taken the run up.
        steps: By the id of the event that scheduled them.
        pending: Open requests by id.
        decided: By whom requests were closed, by id.
        news: One line for each thing that happened; whoever shows them empties it.
    """

    begun: bool = False
    turn: int = 0
    agent: str = ""
    steps: dict[int, Step] = field(default_factory=dict)
    pending: dict[str, Request] = field(default_factory=dict)
    news: list[str] = field(default_factory=list)

    @property
    def current(self) -> list[Step]:
        """The steps of the turn under way."""
        return [step for step in self.steps.values() if step.turn == self.turn]

    async def take(self, event: HistoryEvent, converter: DataConverter) -> None:
        """Take over one event."""
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
                self.begun = True
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                await self._scheduled(event, converter)
            case kind if kind in _ENDINGS:
                await self._ended(event, converter)
            case EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED:
                await self._ledger(event, converter)
            case _:
                pass

    async def _scheduled(self, event: HistoryEvent, converter: DataConverter) -> None:
        attributes = event.activity_task_scheduled_event_attributes
        kind = attributes.activity_type.name
        if kind != MODEL and not kind.startswith(CALL_TYPES):
            return
        given = await _first(attributes.input.payloads, converter)
        if kind.startswith(MCP_TYPE) and isinstance(given, dict):
            kind = f"{TOOL}{given.get('tool')}"
        origin = given.get("origin") if isinstance(given, dict) else None
        origin = origin if isinstance(origin, dict) else {}
        agent, turn = str(origin.get("agent", "")), origin.get("turn")
        turn = turn if isinstance(turn, int) else self.turn
        if kind == MODEL:
            turn += 1  # the call makes the turn, which is counted once the reply is there
            self.news.append(f"turn {turn}: {agent} thinks")
        else:
            self.news.append(f"turn {turn}: {kind.removeprefix(TOOL)} runs")
        self.agent, self.turn = agent, turn
        self.steps[event.event_id] = Step(kind, agent, turn)

    async def _ended(self, event: HistoryEvent, converter: DataConverter) -> None:
        name, state = _ENDINGS[event.event_type]
        attributes = getattr(event, name)
        step = self.steps.get(attributes.scheduled_event_id)
        if step is None:
            return
        if step.kind.startswith(TOOL) and state == "done":
            outcome = await _first(attributes.result.payloads, converter)
            kind = str(outcome.get("kind", "")) if isinstance(outcome, dict) else ""
            state = _OUTCOMES.get(kind, kind or state)
        step.state = state
        if step.kind.startswith(TOOL):
            self.news.append(f"turn {step.turn}: {step.kind.removeprefix(TOOL)} {state}")

    async def _ledger(self, event: HistoryEvent, converter: DataConverter) -> None:
        opened, closed, log = await ledger_changes(event, converter)
        by = {step.request: step for step in log if step.request}
        for request_id in closed:
            request = self.pending.pop(request_id, None)
            step = by.get(request_id)
            if request is not None and step is not None:
                what = f"{step.what} {step.verdict or ''}".strip()
                self.news.append(f"{request.tool or request.kind}: {what}{f' by {step.by}' if step.by else ''}")
        for request in opened:
            if request.id not in closed:
                if request.id not in self.pending:
                    self.news.append(f"{request.tool or request.kind} waits for a person: {request.id}")
                self.pending[request.id] = request


def progress_text(told: ToolProgress) -> str:
    """Write a tool's report, with how much is done where it says so."""
    if told.done is None:
        return told.text
    done = f"{told.done:g} of {told.total:g}" if told.total is not None else f"{told.done:g}"
    return f"{told.text} ({done})"


async def _first(payloads: Any, converter: DataConverter) -> Any:
    """Decode the one payload of an event; None where it cannot be read here, as progress is only for show."""
    try:
        values = await converter.decode(list(payloads))
    except Exception:  # noqa: BLE001 a codec or converter of the user's
        return None
    return values[0] if values else None
