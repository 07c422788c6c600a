"""Messages as items of the Responses API, which scripts and records read, whatever the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from handfast.testing.record import Json


def items_of(messages: Sequence[Json]) -> list[Json]:
    """Return the effective input of a request; the instructions at its head are none."""
    items: list[Json] = []
    kinds: dict[str, str] = {}
    for message in messages[_instructions(messages) :]:
        match message["role"]:
            case "assistant":
                items += _said(message)
                kinds |= {call["id"]: call["type"] for call in message.get("tool_calls") or ()}
            case "tool":
                custom = kinds.get(message["tool_call_id"]) == "custom"
                kind = "custom_tool_call_output" if custom else "function_call_output"
                items.append({"type": kind, "call_id": message["tool_call_id"], "output": _text(message["content"])})
            case role:
                items.append({"type": "message", "role": role, "content": _content(message["content"])})
    return items


def _instructions(messages: Sequence[Json]) -> int:
    """Count the messages at the head that are instructions: one at most, as all others are the conversation's."""
    return int(bool(messages) and messages[0].get("role") in ("system", "developer"))


def _said(message: Json) -> list[Json]:
    items: list[Json] = []
    thought = message.get("reasoning_content") or message.get("reasoning")
    if thought:
        items.append({"type": "reasoning", "summary": [{"type": "summary_text", "text": thought}]})
    said = _text(message.get("content"))
    parts = [{"type": "output_text", "text": said}] if said else []
    if message.get("refusal"):
        parts.append({"type": "refusal", "refusal": message["refusal"]})
    if parts:
        items.append({"type": "message", "role": "assistant", "content": parts})
    for call in message.get("tool_calls") or ():
        kind, field = ("custom_tool_call", "input") if call["type"] == "custom" else ("function_call", "arguments")
        told = call[call["type"]]
        items.append({"type": kind, "call_id": call["id"], "name": told["name"], field: told[field]})
    return items


def _content(content: Any) -> Any:
    """The parts of a message, a picture as the Responses API has it."""
    if not isinstance(content, list):
        return content
    return [
        {"type": "input_text", "text": part["text"]}
        if part["type"] == "text"
        else {"type": "input_image", **part["image_url"], "image_url": part["image_url"]["url"]}
        if part["type"] == "image_url"
        else {**part, "type": f"input_{part['type'].removeprefix('input_')}"}
        for part in content
    ]


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content)
    return content or ""
