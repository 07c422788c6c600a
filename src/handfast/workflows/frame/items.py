"""Items of a conversation: reads the texts of a reply, and makes outputs of calls as the Responses API takes them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from handfast.definitions.schema.output_type import unwrapped
from handfast.payloads.call_items import CUSTOM_CALL, MCP_APPROVAL, PROVIDER_IDS, answer_ids, id_of
from handfast.payloads.json_profile import JsonObject, JsonValue, reparse_json
from handfast.payloads.model_call import StructuredOutput


@dataclass(frozen=True)
class _Kind:
    """A kind of content part.

    Attributes:
        texts: Fields that hold a text.
        one_of: At least one of these has to be there.
        optional: Whether null stands for a text that is left out.
        details: What `detail` may be.
        forms: What the text in a field looks like.
    """

    texts: Collection[str]
    one_of: Collection[str]
    optional: bool = True
    details: Collection[JsonValue] = ()
    forms: Mapping[str, re.Pattern[str]] = field(default_factory=dict)


_SOME: Final = re.compile(r".+", re.S)
_ADDRESS: Final = re.compile(r"https?://\S+", re.I)
_INLINE: Final = re.compile(r"data:[^,\s]+;base64,\S+", re.I)
_ADDRESS_OR_INLINE: Final = re.compile(rf"{_ADDRESS.pattern}|{_INLINE.pattern}", re.I)
_KINDS: Final[Mapping[str, _Kind]] = {
    "input_text": _Kind(texts=("text",), one_of=("text",), optional=False),
    "input_image": _Kind(
        texts=("file_id", "image_url"),
        one_of=("file_id", "image_url"),
        details=("auto", "high", "low", "original", None),
        forms={"file_id": _SOME, "image_url": _ADDRESS_OR_INLINE},
    ),
    "input_file": _Kind(
        texts=("file_data", "file_id", "file_url", "filename"),
        one_of=("file_data", "file_id", "file_url"),
        details=("auto", "high", "low"),
        forms={"file_id": _SOME, "file_url": _ADDRESS, "file_data": _INLINE},
    ),
}


def is_part(value: JsonValue) -> bool:
    """Return whether the API takes *value* as a content part: of a known kind, with its fields and no other."""
    if not isinstance(value, dict):
        return False
    name = value.get("type")
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None or not any(isinstance(value.get(key), str) for key in kind.one_of):
        return False
    return all(key == "type" or _fits(kind, key, item) for key, item in value.items())


def prefixed(text: str, output: JsonValue) -> JsonValue:
    """Put *text* before an output that is a text or content parts."""
    if isinstance(output, list):
        return [{"type": "input_text", "text": text}, *output]
    return f"{text}\n\n{output}"


def suffixed(output: JsonValue, text: str) -> JsonValue:
    """Put *text* after an output that is a text or content parts."""
    if isinstance(output, list):
        return [*output, {"type": "input_text", "text": text}]
    return f"{output}\n\n{text}" if output else text


def _fits(kind: _Kind, name: str, item: JsonValue) -> bool:
    if name not in kind.texts:
        return name == "detail" and item in kind.details
    if not isinstance(item, str):
        return item is None and kind.optional
    form = kind.forms.get(name)
    return form is None or form.fullmatch(item) is not None


def output_item(call: Mapping[str, Any], output: JsonValue) -> JsonObject:
    """Return the item that answers *call*.

    Args:
        call: The model's item.
        output: For the model: a text or content parts. For an `mcp_approval_request`: True lets the provider call
            its server, False does not, and a text is the reason why it may not.
    """
    answer = _answer(call, output)
    ids = answer_ids(call)
    return answer if ids is None else {**answer, PROVIDER_IDS: ids}


def _answer(call: Mapping[str, Any], output: JsonValue) -> JsonObject:
    match call["type"]:
        case kind if kind == MCP_APPROVAL:
            answer: JsonObject = {"type": "mcp_approval_response", "approval_request_id": id_of(call)}
            if isinstance(output, bool):
                return {**answer, "approve": output}
            return {**answer, "approve": False, "reason": output}
        case kind if kind == CUSTOM_CALL:
            return {"type": "custom_tool_call_output", "call_id": id_of(call), "output": output}
    return {"type": "function_call_output", "call_id": id_of(call), "output": output}


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
