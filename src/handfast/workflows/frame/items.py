"""The content parts that the Responses API takes as a call's output: any other would end the run with a 400."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from handfast.payloads.call_items import CUSTOM_CALL, MCP_APPROVAL, PROVIDER_IDS, answer_ids, id_of
from handfast.payloads.json_profile import JsonObject, JsonValue


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
