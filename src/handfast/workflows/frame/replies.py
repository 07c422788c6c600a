"""Reads a model's reply: its text, its refusal, and the value of a structured answer."""

from __future__ import annotations

from collections.abc import Sequence

from handfast.definitions.schema.output_type import unwrapped
from handfast.payloads.json_profile import JsonObject, JsonValue, parse_json
from handfast.payloads.model_call import StructuredOutput


def text_of_reply(items: Sequence[JsonObject]) -> str:
    """Return the text of a reply, all its message parts joined."""
    return "".join(
        str(part.get("text", ""))
        for item in items
        if item.get("type") == "message" and isinstance(item.get("content"), list)
        for part in item["content"]
        if isinstance(part, dict) and part.get("type") == "output_text"
    )


def answer_text(items: Sequence[JsonObject]) -> str:
    """Return the text of a reply's last message: a structured answer is that alone."""
    messages = [item for item in items if item.get("type") == "message"]
    return text_of_reply(messages[-1:])


def answer_value(items: Sequence[JsonObject], structured: StructuredOutput) -> JsonValue:
    """Return the JSON value of an answer that was found to fit, as the model wrote it.

    Raises:
        JsonProfileError: It is no such value.
    """
    value = parse_json(answer_text(items))
    return unwrapped(value) if structured.wrapped else value


def refusal_text(items: Sequence[JsonObject]) -> str | None:
    """Return the text with which a reply refuses; None where it does not."""
    for item in items:
        parts = item.get("content") if item.get("type") == "message" else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict) and part.get("type") == "refusal":
                return str(part.get("refusal"))
    return None
