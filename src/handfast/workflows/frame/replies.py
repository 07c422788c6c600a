"""Reads a model's reply: its text, its refusal, and the value of a structured answer."""

from __future__ import annotations

from collections.abc import Sequence

from handfast.definitions.schema.output_type import unwrapped
from handfast.payloads.json_profile import JsonObject, JsonValue, reparse_json
from handfast.payloads.model_call import StructuredOutput


def text_of_reply(items: Sequence[JsonObject]) -> str:
    """Return the text of a reply: its final answer, or else all its messages with a blank line between them."""
    return "\n\n".join(answers_of(items))


def answer_text(items: Sequence[JsonObject]) -> str:
    """Return the text of an answer's last message: what comes before it is no part of a structured one."""
    return next(reversed(answers_of(items)), "")


def answers_of(items: Sequence[JsonObject]) -> list[str]:
    """Return the texts of a reply's messages; where it has phases, those of the final answer alone."""
    said = [(item.get("phase"), text) for item in items if (text := _text_of_message(item)).strip()]
    final = [text for phase, text in said if phase == "final_answer"]
    return final or [text for phase, text in said if phase != "commentary"] or [text for _, text in said]


def _text_of_message(item: JsonObject) -> str:
    content = item.get("content")
    if item.get("type") != "message" or item.get("role", "assistant") != "assistant":
        return ""
    if isinstance(content, str):
        return content
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return "".join(str(part.get("text") or "") for part in parts if part.get("type") == "output_text")


def answer_value(items: Sequence[JsonObject], structured: StructuredOutput) -> JsonValue:
    """Return the JSON value of an answer that was found to fit, as the model wrote it.

    Raises:
        ValueError: It is no JSON.
    """
    # The activity has checked it: a second time would be 0.4 s of a workflow task for two megabytes.
    value: JsonValue = reparse_json(answer_text(items))
    return unwrapped(value) if structured.wrapped else value


def refusal_text(items: Sequence[JsonObject]) -> str | None:
    """Return the text with which a reply refuses; None where it does not."""
    for item in items:
        parts = item.get("content") if item.get("type") == "message" else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict) and part.get("type") == "refusal":
                return str(part.get("refusal"))
    return None
