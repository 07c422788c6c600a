"""The shape of input items: which types there are, and the fields of messages, calls, outputs and reasoning."""

from __future__ import annotations

from typing import Final

from handfast.testing.record import Json
from handfast.testing.responses.built_in_items import BUILT_IN_ITEMS
from handfast.testing.responses.content import ASSISTANT_PARTS, INPUT_PARTS, MAX_TEXT, MESSAGE_PARTS, parts
from handfast.testing.responses.hosted import HOSTED_ITEMS
from handfast.testing.responses.refusal import missing, wrong_type, wrong_value
from handfast.testing.responses.values import (
    CALLER,
    Check,
    Shape,
    anything,
    boolean,
    call_id,
    each,
    fields,
    item_id,
    mapping,
    nullable,
    one_of,
    shape,
    string,
    text,
)

_STATUS: Final = one_of("in_progress", "completed", "incomplete")
_TEXT: Final = text(MAX_TEXT)


def check_item(value: object, param: str) -> Json:
    """Check one input item and return it.

    Raises:
        ApiRefusal: It is no item of a known type, or lacks something, or has too much.
    """
    item = mapping(value, param)
    kind = item.get("type")
    if kind is None:
        kind = "message" if "role" in item or "content" in item else "item_reference" if "id" in item else None
    if kind is None:
        raise missing(f"{param}.type")
    if not isinstance(kind, str):
        raise wrong_type(f"{param}.type", "a string", kind)
    if kind == "message":
        _message(item, param)
    elif kind in ITEMS:
        known, required = ITEMS[kind]
        fields(item, param, {"type": anything, **known}, required)
    else:
        raise wrong_value(param, kind, sorted({"message", *ITEMS}))
    return item


def _function_name(value: object, param: str) -> None:
    string(value, param, minimum=1, maximum=128, pattern="^[a-zA-Z0-9_-]+$")


def _arguments(value: object, param: str) -> None:
    string(value, param, minimum=1, maximum=MAX_TEXT)


def _message(item: Json, param: str) -> None:
    for name in ("role", "content"):
        if name not in item:
            raise missing(f"{param}.{name}")
    one_of("assistant", "system", "developer", "user")(item["role"], f"{param}.role")
    from_model = item["role"] == "assistant"
    known: dict[str, Check] = {
        "type": anything,
        "role": anything,
        "id": item_id("msg"),
        "status": _STATUS,
        "content": parts(ASSISTANT_PARTS if from_model else MESSAGE_PARTS),
        "phase": nullable(one_of("commentary", "final_answer")),
    }
    fields(item, param, known)


def _texts(kind: str) -> Check:
    return each(shape({"type": one_of(kind), "text": _TEXT}, ("type", "text")))


ITEMS: Final[dict[str, Shape]] = {
    "function_call": (
        {
            "id": item_id("fc"),
            "call_id": call_id,
            "name": _function_name,
            "arguments": _arguments,
            "status": _STATUS,
            "namespace": text(),
            "caller": CALLER,
            "async": boolean,
        },
        ("call_id", "name", "arguments"),
    ),
    "function_call_output": (
        {
            "id": nullable(item_id("fc")),
            "call_id": call_id,
            "output": parts(INPUT_PARTS),
            "status": nullable(_STATUS),
            "name": nullable(text()),
            "namespace": nullable(text()),
            "caller": CALLER,
        },
        ("call_id", "output"),
    ),
    "custom_tool_call": (
        {
            "id": item_id("ctc"),
            "call_id": call_id,
            "name": _function_name,
            "input": _TEXT,
            "status": _STATUS,
            "namespace": text(),
            "caller": CALLER,
            "async": boolean,
        },
        ("call_id", "name", "input"),
    ),
    "custom_tool_call_output": (
        {
            "id": nullable(item_id("ctc")),
            "call_id": call_id,
            "output": parts(INPUT_PARTS),
            "caller": CALLER,
        },
        ("call_id", "output"),
    ),
    "reasoning": (
        {
            "id": item_id("rs"),
            "summary": _texts("summary_text"),
            "content": nullable(_texts("reasoning_text")),
            "encrypted_content": nullable(text()),
            "status": _STATUS,
        },
        ("id", "summary"),
    ),
    "compaction": (
        {
            "id": nullable(item_id("cmp")),
            "encrypted_content": lambda value, param: string(value, param, minimum=1),
        },
        ("encrypted_content",),
    ),
    "compaction_trigger": ({"id": nullable(text())}, ()),
    "item_reference": ({"id": lambda value, param: string(value, param, minimum=1)}, ("id",)),
    **HOSTED_ITEMS,
    **BUILT_IN_ITEMS,
}
"""Every type of item beside messages."""
