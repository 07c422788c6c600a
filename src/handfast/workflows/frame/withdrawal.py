"""Takes an answer out of a conversation that a guardrail has blocked or replaced. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.model_call import StructuredOutput

CALL_OUTPUTS: Final = ("function_call_output", "custom_tool_call_output")
WITHHELD: Final = "The tool ran, but its output was withheld."


def without_messages(
    items: Sequence[JsonObject], instead: JsonObject | None = None, *, only: Sequence[JsonObject] | None = None
) -> list[JsonObject]:
    """Drop messages, and the reasoning that led to them: a provider refuses it without the item that follows on it.

    Everything else stays, calls and what a provider's own tools have done: where an answer to a provider's question
    stood without its call, the provider would run that again.

    Args:
        items: A block of the conversation.
        instead: Stands in the place of the last message.
        only: The messages to drop, the latest of equal ones; None: all.
    """
    left: list[JsonObject] = []
    dropped = None if only is None else list(only)
    placed = instead is None
    leads_to_message = True
    for item in reversed(items):
        if item.get("type") == "message" and (dropped is None or item in dropped):
            leads_to_message = True
            if dropped is not None:
                dropped.remove(item)
            if not placed and instead is not None:
                left.append(instead)
                placed = True
        elif item.get("type") == "reasoning":
            if not leads_to_message:
                left.append(item)
        else:
            leads_to_message = False
            left.append(item)
    return left[::-1]


def without_answer(items: Sequence[JsonObject], text: str | None) -> list[JsonObject]:
    """Take an answer out of the block that holds it: a reply, or the output of a call.

    Args:
        items: The block.
        text: Stands in its place; None: nothing does, and of a call's output it is said that it was withheld.
    """
    if any(item.get("type") in CALL_OUTPUTS for item in items):
        return [
            {**item, "output": WITHHELD if text is None else text} if item.get("type") in CALL_OUTPUTS else item
            for item in items
        ]
    return without_messages(items, None if text is None else answer(text))


def answer(text: str) -> JsonObject:
    """Return *text* as a message of the model."""
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def text_of(value: JsonValue, structured: StructuredOutput | None) -> str:
    """Return a replacement as the model would have written it."""
    if isinstance(value, str) and structured is None:
        return value
    wrapped = {"response": value} if structured is not None and structured.wrapped else value
    return json.dumps(wrapped, ensure_ascii=False)
