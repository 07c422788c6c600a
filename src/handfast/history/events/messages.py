"""Messages to a run: their content stands in the events by which they came, their outcome in the ledger's log."""

from __future__ import annotations

from typing import Final

from handfast.history.events.loops import Emitter, LoopView
from handfast.payloads.events import MessageAnswered, MessagePlaced, MessageRefused, MessageSent, MessageTakenBack
from handfast.payloads.json_profile import JsonObject

ABOUT: Final = frozenset({"sent", "placed", "message_refused", "answered", "taken_back"})
"""Entries of the log that tell of messages."""


class Messages:
    """Adds the events of messages."""

    def __init__(self, loops: dict[str, LoopView]) -> None:
        self._loops = loops
        self._by_id: dict[str, JsonObject] = {}
        self._unnamed: list[JsonObject] = []

    def received(self, message: JsonObject) -> None:
        """Keep the content of a message until the log names its outcome."""
        name = message.get("id") or message.get("message_id")
        if isinstance(name, str):
            self._by_id[name] = message
        else:
            self._unnamed.append(message)

    def take(self, entry: JsonObject, out: Emitter) -> None:
        """Add the event of one entry of the log."""
        what, name, by, why = entry.get("what"), _text(entry, "message"), _text(entry, "by"), _text(entry, "why")
        frame, block = _text(entry, "frame"), _text(entry, "block")
        loop = self._loops.get(frame or "")
        if loop is not None:
            loop.queued = max(loop.queued + {"sent": 1, "placed": -1, "message_refused": -1}.get(str(what), 0), 0)
        match what:
            case "sent":
                said = self._said(name)
                given = said.get("text") or said.get("items")
                shown = given if isinstance(given, str | list) else None
                out.add(MessageSent, message=name or "", by=by, when=_text(said, "when"), frame=frame, input=shown)
            case "placed":
                out.add(MessagePlaced, message=name or "", frame=frame)
            case "message_refused":
                if name is None and self._unnamed:
                    self._unnamed.pop(0)
                out.add(MessageRefused, message=name, by=by, why=why)
            case "answered":
                status = "answered" if why is None else "failed"
                out.add(MessageAnswered, message=name or "", status=status, why=why, frame=frame, block=block)
            case "taken_back":
                out.add(MessageTakenBack, message=name or "", by=by, frame=frame)

    def _said(self, name: str | None) -> JsonObject:
        """Find the content of a message; those without an id got one when they were taken, in the order of coming."""
        known = self._by_id.pop(name, None) if name is not None else None
        if known is not None:
            return known
        return self._unnamed.pop(0) if self._unnamed else {}


def _text(entry: JsonObject, name: str) -> str | None:
    value = entry.get(name)
    return value if isinstance(value, str) else None
