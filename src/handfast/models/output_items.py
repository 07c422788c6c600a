"""Reads the output items of a reply, however a server spells them, into the form of the Responses API.

What means the same is written alike, so that what goes back to a model is a valid request: null where a text belongs, a
message that is a plain string, parts of another name. Items of unknown types are kept as they came.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from handfast.payloads.call_items import CUSTOM_CALL, FUNCTION_CALL, MCP_APPROVAL
from handfast.payloads.json_profile import JsonObject

_TEXT_TYPES: Final = frozenset({"output_text", "text", "input_text"})
"""Types of a part that is a text; the API itself has the first one in its replies."""
_STATES: Final = frozenset({"in_progress", "completed", "incomplete"})
_NULLABLE: Final = frozenset({"caller", "phase"})
"""Fields of an item that may be null in a request; any other that is null is left out."""


class ItemUnreadableError(Exception):
    """An item is none. Its text says why, for the failure of the reply."""


def read_items(output: Sequence[object]) -> list[JsonObject]:
    """Read the output of a reply; what has been read before stays as it is.

    Raises:
        ItemUnreadableError: Something in it is no item, or a text in it is none.
    """
    return [_item(item) for item in output if item is not None]


def _item(item: object) -> JsonObject:
    if not isinstance(item, dict):
        raise ItemUnreadableError("holds an item that is no object")
    kind = _kind(item)
    if kind == "message" and item.get("role") not in (None, "", "assistant", "model"):
        return item  # an echo, such as the messages that a provider keeps when it compacts
    read = _READERS.get(kind)
    return {**item, "type": kind} if read is None else read({**item, "type": kind})


def _kind(item: Mapping[str, Any]) -> str:
    kind = item.get("type")
    if isinstance(kind, str) and kind:
        return kind if kind not in _TEXT_TYPES else "message"
    if "role" in item or "content" in item:
        return "message"
    if "name" in item and ("arguments" in item or "call_id" in item):
        return FUNCTION_CALL
    if "summary" in item or "encrypted_content" in item:
        return "reasoning"
    raise ItemUnreadableError("holds an item without a type")


# --- one kind each ---


def _message(item: JsonObject) -> JsonObject:
    content = item["content"] if "content" in item else item.get("text")
    message = {name: value for name, value in item.items() if name not in ("text", "refusal")}
    return _tidy({**message, "role": "assistant", "content": _parts(content)})


def _parts(content: object) -> list[JsonObject]:
    if content is None:
        return []
    parts = content if isinstance(content, list) else [content]
    return [_part(part) for part in parts if part is not None]


def _part(part: object) -> JsonObject:
    if isinstance(part, str):
        return {"type": "output_text", "text": part, "annotations": []}
    if not isinstance(part, dict):
        raise ItemUnreadableError("holds a message whose content is no text")
    kind = part.get("type")
    if kind == "refusal":
        return {**part, "refusal": _text(part.get("refusal") or part.get("text"), "a refusal")}
    if kind in _TEXT_TYPES or (not kind and "text" in part):
        read = {**part, "type": "output_text", "text": _text(part.get("text"), "a message's text")}
        if "annotations" in part and not isinstance(part["annotations"], list):
            read["annotations"] = []
        return {name: value for name, value in read.items() if value is not None}
    if not isinstance(kind, str) or not kind:
        raise ItemUnreadableError("holds a message with a part without a type")
    return part


def _function_call(item: JsonObject) -> JsonObject:
    return _call(item, "arguments")


def _custom_call(item: JsonObject) -> JsonObject:
    return _call(item, "input")


def _mcp_approval(item: JsonObject) -> JsonObject:
    return _tidy({**item, "name": _name(item), "arguments": _json_text(item.get("arguments"))})


def _call(item: JsonObject, field: str) -> JsonObject:
    call_id = item.get("call_id")
    if not isinstance(call_id, str) or not call_id:
        call_id = item.get("id")  # of servers that have one id for both
    written = item.get(field)
    text = _json_text(written) if field == "arguments" else _json_text(written, empty="")
    read = {**item, "call_id": call_id or "", "name": _name(item), field: text}
    return _tidy(read)


def _reasoning(item: JsonObject) -> JsonObject:
    read = {**item, "summary": _thoughts(item.get("summary"), "summary_text")}
    if item.get("content") is not None:
        read["content"] = _thoughts(item["content"], "reasoning_text")
    return _tidy(read)


def _thoughts(texts: object, kind: str) -> list[JsonObject]:
    """The texts of a summary or of reasoning itself; what is none is left out, as nobody acts on it."""
    parts = texts if isinstance(texts, list) else [texts]
    read = [{"text": part} if isinstance(part, str) else part for part in parts]
    texts = [part for part in read if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return [{**part, "type": kind} if part.get("type") in (None, *_TEXT_TYPES) else part for part in texts]


_READERS: Final[Mapping[str, Callable[[JsonObject], JsonObject]]] = {
    "message": _message,
    "reasoning": _reasoning,
    FUNCTION_CALL: _function_call,
    CUSTOM_CALL: _custom_call,
    MCP_APPROVAL: _mcp_approval,
}


# --- values ---


def _tidy(item: JsonObject) -> JsonObject:
    """Leave out what is null, and a state that the API does not know: a request may hold neither."""
    kept = {name: value for name, value in item.items() if value is not None or name in _NULLABLE}
    if kept.get("status") not in _STATES:
        kept.pop("status", None)
    if not isinstance(kept.get("id"), str) or not kept["id"]:
        kept.pop("id", None)
    return kept


def _name(item: Mapping[str, Any]) -> str:
    name = item.get("name")
    return name if isinstance(name, str) else ""


def _text(value: object, what: str) -> str:
    if isinstance(value, dict) and isinstance(value.get("value"), str):
        return str(value["value"])
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        raise ItemUnreadableError(f"holds {what} that is no text")
    return str(value)


def _json_text(value: object, empty: str = "{}") -> str:
    """The text of arguments: some servers send them decoded, or leave them out where there are none."""
    if isinstance(value, str):
        return value if value.strip() else empty
    return empty if value is None else json.dumps(value)
