"""The agents' loops and their calls, as far as the history has been read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from handfast.payloads import call_items
from handfast.payloads.events import RunEvent, UnknownEvent
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.model_call import AfterToolsPlan, PlannedCall


@dataclass
class CallView:
    """One call of a loop's turn.

    Attributes:
        plan: None where the reply stands in an earlier segment.
        starts: Number of its starts.
        running: An activity or a nested loop of it is under way.
        closed: True once it has its output.
        ok: True where it ran to its end; `value` is its result.
        cancelling: Somebody wants it to end.
        child: The nested loop that it started.
        repeats: Id of the latest call of an earlier reply with the same tool and arguments.
    """

    call_id: str
    tool: str
    plan: PlannedCall | None = None
    arguments: JsonObject | None = None
    starts: int = 0
    running: bool = False
    closed: bool = False
    ok: bool = False
    value: JsonValue = None
    cancelling: bool = False
    wording: bool = False
    child: str | None = None
    repeats: str | None = None


def arguments_in(item: object) -> JsonObject | None:
    """Return the arguments of a call item; None where the model wrote no JSON object."""
    if not isinstance(item, dict) or item.get("type") not in call_items.CALLS:
        return None
    try:
        arguments: object = call_items.arguments_of(item)
    except (ValueError, RecursionError, KeyError):  # the model wrote it
        return None
    return arguments if isinstance(arguments, dict) else None


def _content(item: object) -> tuple[str, str] | None:
    """Return the tool and arguments of a call item; None for other items."""
    arguments = arguments_in(item)
    if arguments is None or not isinstance(item, dict):
        return None
    return call_items.tool_of(item), json.dumps(arguments, sort_keys=True)


@dataclass
class LoopView:
    """One agent loop.

    Attributes:
        turn: Turn of the last reply.
        asked_turn: The last turn that was begun.
        parent: The loop whose call `parent_call` it answers.
        calls: Calls of the last reply, by id, in the model's order.
        guards: Guardrails that have yet to speak before its output stands, as *kind name*.
        queued: Messages that wait for its next model call: it goes on while there are some.
        answered: True once it has an output, which is `output` unless a guardrail replaces it.
        over: Its end was told.
        made: Id of the latest call for each tool with each arguments.
    """

    frame: str
    agent: str
    agent_path: list[str]
    turn: int = 0
    asked_turn: int = 0
    parent: str | None = None
    parent_call: str | None = None
    calls: dict[str, CallView] = field(default_factory=dict)
    after_tools: AfterToolsPlan | None = None
    reply: str | None = None
    guards: list[str] = field(default_factory=list)
    queued: int = 0
    answered: bool = False
    output: JsonValue = None
    over: bool = False
    made: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def nested(self) -> bool:
        """True where it answers a call of another loop."""
        return len(self.agent_path) > 1

    def call(self, call_id: str, tool: str) -> CallView:
        """Return the call of that id, which may stem from an earlier segment."""
        return self.calls.setdefault(call_id, CallView(call_id, tool))

    def take_calls(self, calls: Iterable[CallView], items: Sequence[object]) -> None:
        """Find the calls that *calls* repeat, then note those of their reply, *items*, for the replies to come."""
        for call in calls:
            if call.plan is not None and call.plan.index < len(items):
                call.repeats = self.made.get(_content(items[call.plan.index]) or ("", ""))
        for item in items:
            content = _content(item)
            if content is not None and isinstance(item, dict):
                self.made[content] = call_items.id_of(item)

    def fields(self, turn: int | None = None) -> dict[str, Any]:
        """The fields that every event of the loop has."""
        return {
            "frame": self.frame,
            "agent": self.agent,
            "agent_path": self.agent_path,
            "turn": self.turn if turn is None else turn,
        }

    def fields_of(self, call: CallView) -> dict[str, Any]:
        """Return the fields that every event of one of its calls has."""
        return {**self.fields(), "call_id": call.call_id, "tool": call.tool}

    def open_calls(self) -> Iterator[CallView]:
        """The calls that have no output yet."""
        return (call for call in self.calls.values() if not call.closed)


class Emitter:
    """Collects the events of one Temporal event, and gives each its place."""

    def __init__(self, run_id: str, event_id: int, at: datetime) -> None:
        self._place = f"{run_id}:{event_id}"
        self._at = at
        self.events: list[RunEvent] = []

    def add(self, kind: Callable[..., RunEvent], /, **fields: Any) -> None:
        """Add an event."""
        self.events.append(kind(offset=self._offset, at=self._at, **fields))

    def unknown(self, kind: str, fields: JsonObject) -> None:
        """Add an event of a type that this version does not know."""
        plain = {name: value for name, value in fields.items() if name not in ("type", "what", "offset", "at")}
        self.events.append(UnknownEvent.model_validate({**plain, "type": kind, "offset": self._offset, "at": self._at}))

    @property
    def _offset(self) -> str:
        return f"{self._place}.{len(self.events)}"
