"""Read the state that a segment carried over from the one before it, from its own history."""

from __future__ import annotations

import json
from typing import Final

from pydantic import ValidationError

from handfast.errors import PayloadInvalidError
from handfast.history.events.loops import CallView, LoopView, arguments_in
from handfast.payloads.continuation import Carry
from handfast.payloads.json_profile import JsonObject
from handfast.workflows.frame.frame import Call, Frame

DEEPEST: Final = 8
"""Depth to which the argument of a user's own workflow is searched for the state of its agents."""
_STARTED: Final = frozenset({"running", "backoff", "wording"})
_ASKED_AGAIN: Final = frozenset({"backoff", "stuck", "thinking"})
"""Phases in which the turn to come has begun."""


def carried_loops(arguments: list[object]) -> list[LoopView]:
    """Read the loops that a segment went on with; none where it took over nothing that this version can read."""
    for argument in arguments:
        state = _find(argument, 0)
        if state is not None:
            blocks, frames = _part(state, "transcript", "blocks"), _part(state, "frames", "all")
            return [
                _loop(frame, blocks if isinstance(blocks, dict) else {})
                for frame in (_frame(each) for each in (frames if isinstance(frames, list) else []))
                if frame is not None
            ]
    return []


def _find(value: object, depth: int) -> JsonObject | None:
    if depth > DEEPEST or not isinstance(value, dict | list):
        return None
    if isinstance(value, dict) and value.keys() == {"format", "state"}:
        try:
            decoded = json.loads(Carry.from_wire(value).text())
        except (PayloadInvalidError, ValueError):
            return None
        return decoded if isinstance(decoded, dict) else None
    inner = list(value.values()) if isinstance(value, dict) else value
    return next((found for each in inner if (found := _find(each, depth + 1)) is not None), None)


def _part(state: JsonObject, name: str, field: str) -> object:
    """A field of a part of the state, as `RunState` names them."""
    part = state.get(name)
    return part.get(field) if isinstance(part, dict) else None


def _frame(value: object) -> Frame | None:
    try:
        return Frame.model_validate(value)
    except ValidationError:
        return None


def _loop(frame: Frame, blocks: JsonObject) -> LoopView:
    calls = [_call(call, _items(blocks, frame.reply)) for call in frame.calls]
    asked = frame.turn + 1 if frame.phase in _ASKED_AGAIN else frame.turn
    loop = LoopView(
        frame=frame.id,
        agent=frame.agent,
        agent_path=frame.agent_path,
        turn=frame.turn,
        asked_turn=asked,
        parent=frame.parent,
        parent_call=frame.parent_call,
        calls={call.call_id: call for call in calls},
        after_tools=frame.after_tools,
        reply=frame.reply,
        guards=[f"{each.kind} {each.name}" for each in frame.guards if each.state != "done"],
        queued=len(frame.queue),
        over=frame.phase == "finished" or frame.failure is not None,
    )
    for block in [*frame.earlier, *frame.blocks]:
        loop.take_calls(calls if block == frame.reply else (), _items(blocks, block))
    return loop


def _items(blocks: JsonObject, block: str | None) -> list[object]:
    items = blocks.get(block or "")
    return list(items) if isinstance(items, list) else []


def _call(call: Call, items: list[object]) -> CallView:
    index = call.plan.index
    item = items[index] if index < len(items) else None
    begun = call.state in _STARTED or call.child is not None
    return CallView(
        call_id=call.call_id,
        tool=call.tool,
        plan=call.plan,
        arguments=call.arguments or arguments_in(item),
        starts=max(call.starts, int(begun)),
        running=call.child is not None and call.state != "settled",
        closed=call.state == "settled",
        ok=call.ok,
        value=call.value,
        cancelling=call.cancelling is not None,
        child=call.child,
    )
