"""The shape of input items, one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from handfast.testing.record import Json
from handfast.testing.responses.hosted import HOSTED_ITEMS, Shape
from handfast.testing.responses.refusal import ApiRefusal, missing, wrong_type, wrong_value
from handfast.testing.responses.values import (
    Check,
    anything,
    array,
    boolean,
    fields,
    mapping,
    nullable,
    one_of,
    string,
    text,
)

MAX_TEXT: Final = 10_485_760
"""Longest text of one message or tool output, in characters."""

Parts: TypeAlias = Mapping[str, tuple[dict[str, Check], tuple[str, ...]]]
"""Kinds of content part: the check of each field, and the required ones."""

_STATUS: Final = one_of("in_progress", "completed", "incomplete")
_HOSTED_TYPES: Final = [
    "additional_tools",
    "apply_patch_call",
    "apply_patch_call_output",
    "compaction_trigger",
    "computer_call",
    "computer_call_output",
    "configuration_update",
    "item_reference",
    "local_shell_call",
    "local_shell_call_output",
    "program",
    "program_output",
    "shell_call",
    "shell_call_output",
    "tool_search_call",
    "tool_search_output",
]
"""Item types that are accepted without a look inside."""


def check_item(value: object, param: str) -> Json:
    """Check one input item and return it.

    Raises:
        ApiRefusal: It is no item of a known type, or lacks something, or has too much.
    """
    item = mapping(value, param)
    kind = item.get("type", "message" if "role" in item or "content" in item else None)
    if kind is None:
        if set(item) == {"id"}:
            kind = "item_reference"
        else:
            raise missing(f"{param}.type")
    if not isinstance(kind, str):
        raise wrong_type(f"{param}.type", "a string", kind)
    if kind in _CHECKS:
        _CHECKS[kind](item, param)
    elif kind not in _HOSTED_TYPES:
        supported = sorted({*_CHECKS, *_HOSTED_TYPES})
        raise wrong_value(param, kind, supported)
    return item


def _item_id(*prefixes: str) -> Check:
    def check(value: object, param: str) -> None:
        if not string(value, param, minimum=1, maximum=64).startswith(prefixes):
            message = f"Invalid '{param}': '{value}'. Expected an ID that begins with '{prefixes[0]}'."
            raise ApiRefusal(message, param, "invalid_value")

    return check


def _call_id(value: object, param: str) -> None:
    string(value, param, minimum=1, maximum=64)


def _function_name(value: object, param: str) -> None:
    string(value, param, minimum=1, maximum=128, pattern="^[a-zA-Z0-9_-]+$")


def _arguments(value: object, param: str) -> None:
    string(value, param, minimum=1, maximum=MAX_TEXT)


def _parts(parts: Parts) -> Check:
    """Return a check for content: a string, or an array of the given parts."""

    def check(value: object, param: str) -> None:
        if isinstance(value, str):
            string(value, param, maximum=MAX_TEXT)
            return
        for index, entry in enumerate(array(value, param, "one of an array of objects or string")):
            place = f"{param}[{index}]"
            part = mapping(entry, place)
            if "type" not in part:
                raise missing(f"{place}.type")
            kind = part["type"]
            if not isinstance(kind, str):
                raise wrong_type(f"{place}.type", "a string", kind)
            if kind not in parts:
                raise wrong_value(place, kind, parts)
            known, required = parts[kind]
            fields(part, place, {"type": anything, **known}, required)

    return check


_TEXT: Final = text(MAX_TEXT)
_ANY_TEXT: Final = nullable(text())
_INPUT_PARTS: Final[Parts] = {
    "input_text": ({"text": _TEXT, "prompt_cache_breakpoint": anything}, ("text",)),
    "input_image": (
        {
            "detail": nullable(one_of("low", "high", "auto", "original")),
            "file_id": _ANY_TEXT,
            "image_url": _ANY_TEXT,
            "prompt_cache_breakpoint": anything,
        },
        (),
    ),
    "input_file": (
        {
            "detail": one_of("auto", "low", "high"),
            "file_data": _ANY_TEXT,
            "file_id": _ANY_TEXT,
            "file_url": _ANY_TEXT,
            "filename": _ANY_TEXT,
            "prompt_cache_breakpoint": anything,
        },
        (),
    ),
}
_MESSAGE_PARTS: Final[Parts] = {**_INPUT_PARTS, "input_audio": ({"input_audio": mapping}, ("input_audio",))}
_ASSISTANT_PARTS: Final[Parts] = {
    "output_text": ({"text": _TEXT, "annotations": array, "logprobs": array}, ("text",)),
    "refusal": ({"refusal": _TEXT}, ("refusal",)),
}


def _message(item: Json, param: str) -> None:
    for name in ("role", "content"):
        if name not in item:
            raise missing(f"{param}.{name}")
    one_of("assistant", "system", "developer", "user")(item["role"], f"{param}.role")
    from_model = item["role"] == "assistant"
    known: dict[str, Check] = {
        "type": anything,
        "role": anything,
        "id": _item_id("msg"),
        "status": _STATUS,
        "content": _parts(_ASSISTANT_PARTS if from_model else _MESSAGE_PARTS),
        "phase": nullable(one_of("commentary", "final_answer")),
    }
    fields(item, param, known)


def _function_call(item: Json, param: str) -> None:
    known: dict[str, Check] = {
        "type": anything,
        "id": _item_id("fc"),
        "call_id": _call_id,
        "name": _function_name,
        "arguments": _arguments,
        "status": _STATUS,
        "namespace": text(),
        "caller": nullable(mapping),
        "async": boolean,
    }
    fields(item, param, known, ("call_id", "name", "arguments"))


def _function_call_output(item: Json, param: str) -> None:
    known: dict[str, Check] = {
        "type": anything,
        "id": nullable(_item_id("fc")),
        "call_id": _call_id,
        "output": _parts(_INPUT_PARTS),
        "status": nullable(_STATUS),
        "name": nullable(text()),
        "namespace": nullable(text()),
        "caller": nullable(mapping),
    }
    fields(item, param, known, ("call_id", "output"))


def _custom_tool_call(item: Json, param: str) -> None:
    known: dict[str, Check] = {
        "type": anything,
        "id": _item_id("ctc"),
        "call_id": _call_id,
        "name": _function_name,
        "input": _TEXT,
        "status": _STATUS,
        "namespace": text(),
        "caller": nullable(mapping),
        "async": boolean,
    }
    fields(item, param, known, ("call_id", "name", "input"))


def _custom_tool_call_output(item: Json, param: str) -> None:
    known: dict[str, Check] = {
        "type": anything,
        "id": nullable(_item_id("ctc")),
        "call_id": _call_id,
        "output": _parts(_INPUT_PARTS),
        "caller": nullable(mapping),
    }
    fields(item, param, known, ("call_id", "output"))


def _hosted(shape: Shape) -> Check:
    prefix, known, required = shape
    return lambda value, param: fields(
        mapping(value, param), param, {**known, "id": nullable(_item_id(prefix))}, required
    )


def _texts(kind: str) -> Check:
    def check(value: object, param: str) -> None:
        for index, entry in enumerate(array(value, param)):
            place = f"{param}[{index}]"
            part = mapping(entry, place)
            fields(part, place, {"type": one_of(kind), "text": _TEXT}, ("type", "text"))

    return check


def _reasoning(item: Json, param: str) -> None:
    known: dict[str, Check] = {
        "type": anything,
        "id": _item_id("rs"),
        "summary": _texts("summary_text"),
        "content": nullable(_texts("reasoning_text")),
        "encrypted_content": nullable(text()),
        "status": _STATUS,
    }
    fields(item, param, known, ("id", "summary"))


def _compaction(item: Json, param: str) -> None:
    known: dict[str, Check] = {
        "type": anything,
        "id": nullable(_item_id("cmp")),
        "encrypted_content": lambda value, place: string(value, place, minimum=1),
    }
    fields(item, param, known, ("encrypted_content",))


_CHECKS: Final[dict[str, Check]] = {
    "message": lambda value, param: _message(mapping(value, param), param),
    "function_call": lambda value, param: _function_call(mapping(value, param), param),
    "function_call_output": lambda value, param: _function_call_output(mapping(value, param), param),
    "custom_tool_call": lambda value, param: _custom_tool_call(mapping(value, param), param),
    "custom_tool_call_output": lambda value, param: _custom_tool_call_output(mapping(value, param), param),
    "compaction": lambda value, param: _compaction(mapping(value, param), param),
    "reasoning": lambda value, param: _reasoning(mapping(value, param), param),
    **{kind: _hosted(shape) for kind, shape in HOSTED_ITEMS.items()},
}
