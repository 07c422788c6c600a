"""The items of a stream, put together from its events: some servers close a stream without saying them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from handfast.payloads.json_profile import JsonObject

_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    "response.output_text": ("output_text", "text"),
    "response.refusal": ("refusal", "refusal"),
}
"""Events that tell of a message's part: its type, and the field of the event and of the part that holds it whole."""
_FIELDS: Final[Mapping[str, str]] = {
    "response.function_call_arguments": "arguments",
    "response.mcp_call_arguments": "arguments",
    "response.custom_tool_call_input": "input",
}
"""Events that tell of a call: the field of the event and of the item that holds it whole."""


class StreamedItems:
    """The items that the events of one stream have told of so far."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._begun: dict[int, JsonObject] = {}
        self._done: dict[int, JsonObject] = {}
        self._parts: dict[int, dict[int, JsonObject]] = {}
        self._fields: dict[int, dict[str, str]] = {}

    def place(self, event: Mapping[str, Any]) -> int | None:
        """Position of the item that *event* is about; None where it is about none."""
        index = event.get("output_index")
        item = event.get("item")
        name = item.get("id") if isinstance(item, dict) else event.get("item_id")
        if isinstance(index, bool) or not isinstance(index, int):
            if not isinstance(item, dict) and not isinstance(name, str):
                return None
            index = self._places.get(str(name), len(self._begun.keys() | self._done.keys()))
        if isinstance(name, str):
            self._places[name] = index
        return index

    def take(self, kind: str, event: Mapping[str, Any], place: int) -> None:
        """Take over what an event of type *kind* tells of the item at *place*."""
        item = event.get("item")
        if kind == "response.output_item.added" and isinstance(item, dict):
            self._begun[place] = item
        elif kind == "response.output_item.done" and isinstance(item, dict):
            self._done[place] = item
        elif kind == "response.content_part.done" and isinstance(event.get("part"), dict):
            self._part(event, place).update(event["part"])
        else:
            subject, _, what = kind.rpartition(".")
            if subject in _TEXTS:
                part_type, field = _TEXTS[subject]
                _add(self._part(event, place, type=part_type), field, what, event)
            elif subject in _FIELDS:
                _add(self._fields.setdefault(place, {}), _FIELDS[subject], what, event)

    def whole(self) -> list[JsonObject]:
        """The items in their order: as they were said to be done, or else put together from their pieces.

        Reasoning that was never done is left out, as nobody could read it.
        """
        places = sorted(self._done.keys() | self._begun.keys() | self._parts.keys())
        items = (self._done.get(place) or self._assembled(place) for place in places)
        return [item for item in items if item is not None]

    @property
    def are_whole(self) -> bool:
        """Whether there are items, and each of them was said to be done."""
        return bool(self._done) and self._done.keys() >= self._begun.keys() | self._parts.keys() | self._fields.keys()

    def completed(self, closing: object) -> object:
        """The output of a closed stream: that of its closing event, unless that says less than came before.

        Args:
            closing: The output in the closing event, whatever it is.
        """
        told = self.whole()
        if not told or (isinstance(closing, list) and len(closing) >= len(told) and _said(closing) >= _said(told)):
            return closing
        return told

    def _part(self, event: Mapping[str, Any], place: int, **new: str) -> JsonObject:
        index = event.get("content_index")
        return self._parts.setdefault(place, {}).setdefault(index if isinstance(index, int) else 0, dict(new))

    def _assembled(self, place: int) -> JsonObject | None:
        begun = self._begun.get(place, {"type": "message", "role": "assistant"})
        if begun.get("type") == "reasoning":
            return None
        parts = self._parts.get(place)
        content = {"content": [parts[index] for index in sorted(parts)]} if parts else {}
        return {**begun, **content, **self._fields.get(place, {})}


def _add(whole: JsonObject, field: str, what: str, event: Mapping[str, Any]) -> None:
    said = event.get("delta" if what == "delta" else field)
    if isinstance(said, str):
        whole[field] = str(whole.get(field) or "") + said if what == "delta" else said


def _said(items: Sequence[Any]) -> int:
    """Count the characters of the texts and arguments in *items*."""
    size = 0
    for item in items:
        if isinstance(item, dict):
            size += sum(len(item[name]) for name in ("arguments", "input") if isinstance(item.get(name), str))
            content = item.get("content")
            if isinstance(content, str):
                size += len(content)
            elif isinstance(content, list):
                texts = (part.get("text") or part.get("refusal") for part in content if isinstance(part, dict))
                size += sum(len(each) for each in texts if isinstance(each, str))
    return size
