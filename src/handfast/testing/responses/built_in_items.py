"""The shape of input items of tools that the model knows by itself and the client carries out: computer, shells,
patches, searches of tools; of programs; and of items that change what follows."""

from __future__ import annotations

from typing import Final

from handfast.testing.responses.content import file_id, image_address
from handfast.testing.responses.schema import check_format
from handfast.testing.responses.tools import LOCAL_SKILLS, check_tools
from handfast.testing.responses.values import (
    CALLER,
    Check,
    Shape,
    anything,
    call_id,
    each,
    integer,
    nullable,
    one_of,
    shape,
    string,
    strings,
    tagged,
    text,
    values,
)

_STATUS: Final = one_of("in_progress", "completed", "incomplete")
_ANY_STATUS: Final = nullable(_STATUS)
_ANY_ID: Final = nullable(text(64))
_ANY_TEXT: Final = nullable(text())
_POINT: Final[dict[str, Check]] = {"x": integer(), "y": integer()}
_KEYS: Final = nullable(strings())


def _some(value: object, param: str) -> None:
    string(value, param, minimum=1)


_ACTION: Final = tagged(
    {
        "click": (
            {**_POINT, "button": one_of("left", "right", "wheel", "back", "forward"), "keys": _KEYS},
            ("button", "x", "y"),
        ),
        "double_click": ({**_POINT, "keys": _KEYS}, ("keys", "x", "y")),
        "drag": ({"path": each(shape(_POINT, ("x", "y"))), "keys": _KEYS}, ("path",)),
        "keypress": ({"keys": strings()}, ("keys",)),
        "move": ({**_POINT, "keys": _KEYS}, ("x", "y")),
        "screenshot": ({}, ()),
        "scroll": (
            {**_POINT, "scroll_x": integer(), "scroll_y": integer(), "keys": _KEYS},
            ("scroll_x", "scroll_y", "x", "y"),
        ),
        "type": ({"text": text()}, ("text",)),
        "wait": ({}, ()),
    }
)
_SAFETY: Final = each(shape({"id": text(), "code": _ANY_TEXT, "message": _ANY_TEXT}, ("id",)))
_SCREENSHOT: Final = tagged({"computer_screenshot": ({"file_id": file_id, "image_url": image_address}, ())})
_EXEC: Final = tagged(
    {
        "exec": (
            {
                "command": strings(),
                "env": values(text()),
                "timeout_ms": nullable(integer(0)),
                "user": _ANY_TEXT,
                "working_directory": _ANY_TEXT,
            },
            ("command", "env"),
        )
    }
)
_ENVIRONMENT: Final = tagged(
    {
        "local": ({"skills": LOCAL_SKILLS}, ()),
        "container_reference": ({"container_id": text()}, ("container_id",)),
    }
)
_COMMANDS: Final = shape(
    {"commands": strings(), "max_output_length": nullable(integer(0)), "timeout_ms": nullable(integer(0))},
    ("commands",),
)
_PRINTED: Final = shape(
    {
        "outcome": tagged({"timeout": ({}, ()), "exit": ({"exit_code": integer()}, ("exit_code",))}),
        "stderr": text(),
        "stdout": text(),
    },
    ("outcome", "stderr", "stdout"),
)
_PATCH: Final = tagged(
    {
        "create_file": ({"diff": text(), "path": _some}, ("diff", "path")),
        "delete_file": ({"path": _some}, ("path",)),
        "update_file": ({"diff": text(), "path": _some}, ("diff", "path")),
    }
)
_SEARCH: Final[dict[str, Check]] = {
    "id": _ANY_ID,
    "call_id": nullable(call_id),
    "execution": one_of("server", "client"),
    "status": _ANY_STATUS,
}
_EFFORT: Final = nullable(one_of("none", "minimal", "low", "medium", "high", "xhigh", "max"))

BUILT_IN_ITEMS: Final[dict[str, Shape]] = {
    "computer_call": (
        {
            "id": text(64),
            "call_id": call_id,
            "pending_safety_checks": _SAFETY,
            "status": _STATUS,
            "action": _ACTION,
            "actions": each(_ACTION),
        },
        ("id", "call_id", "pending_safety_checks", "status"),
    ),
    "computer_call_output": (
        {
            "id": _ANY_ID,
            "call_id": call_id,
            "output": _SCREENSHOT,
            "acknowledged_safety_checks": nullable(_SAFETY),
            "status": _ANY_STATUS,
        },
        ("call_id", "output"),
    ),
    "local_shell_call": (
        {"id": text(64), "action": _EXEC, "call_id": call_id, "status": _STATUS},
        ("id", "action", "call_id", "status"),
    ),
    "local_shell_call_output": ({"id": text(64), "output": text(), "status": _ANY_STATUS}, ("id", "output")),
    "shell_call": (
        {
            "id": _ANY_ID,
            "action": _COMMANDS,
            "call_id": call_id,
            "caller": CALLER,
            "environment": nullable(_ENVIRONMENT),
            "status": _ANY_STATUS,
        },
        ("action", "call_id"),
    ),
    "shell_call_output": (
        {
            "id": _ANY_ID,
            "call_id": call_id,
            "output": each(_PRINTED),
            "caller": CALLER,
            "max_output_length": nullable(integer(0)),
            "status": _ANY_STATUS,
        },
        ("call_id", "output"),
    ),
    "apply_patch_call": (
        {
            "id": _ANY_ID,
            "call_id": call_id,
            "operation": _PATCH,
            "status": one_of("in_progress", "completed"),
            "caller": CALLER,
        },
        ("call_id", "operation", "status"),
    ),
    "apply_patch_call_output": (
        {
            "id": _ANY_ID,
            "call_id": call_id,
            "status": one_of("completed", "failed"),
            "output": _ANY_TEXT,
            "caller": CALLER,
        },
        ("call_id", "status"),
    ),
    "tool_search_call": ({**_SEARCH, "arguments": anything}, ("arguments",)),
    "tool_search_output": ({**_SEARCH, "tools": check_tools}, ("tools",)),
    "additional_tools": (
        {"id": _ANY_ID, "role": one_of("developer"), "tools": check_tools},
        ("role", "tools"),
    ),
    "program": (
        {"id": text(64), "call_id": call_id, "code": text(), "fingerprint": text()},
        ("id", "call_id", "code", "fingerprint"),
    ),
    "program_output": (
        {"id": text(64), "call_id": call_id, "result": text(), "status": one_of("completed", "incomplete")},
        ("id", "call_id", "result", "status"),
    ),
    "configuration_update": (
        {"id": _ANY_ID, "reasoning": shape({"effort": _EFFORT}), "text": shape({"format": check_format}, ("format",))},
        (),
    ),
}
"""Calls and outputs of tools that are not the user's own functions."""
