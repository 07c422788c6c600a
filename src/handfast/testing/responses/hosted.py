"""The shape of input items of what the provider ran itself: searches, code, images, hosted MCP servers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from handfast.testing.responses.values import (
    Check,
    Shape,
    anything,
    boolean,
    decimal,
    each,
    integer,
    item_id,
    nullable,
    one_of,
    shape,
    string_or,
    strings,
    tagged,
    text,
    values,
)

_ENDED: Final = ("in_progress", "completed", "incomplete", "failed")
_SEARCHED: Final = one_of(*_ENDED, "searching")
_ANY_TEXT: Final = nullable(text())

_ACTION: Final = tagged(
    {
        "search": (
            {
                "query": text(),
                "queries": strings(),
                "sources": each(shape({"type": one_of("url"), "url": text()}, ("type", "url"))),
            },
            (),
        ),
        "open_page": ({"url": _ANY_TEXT}, ()),
        "find_in_page": ({"pattern": text(), "url": text()}, ("pattern", "url")),
        "find": ({"pattern": text(), "url": text()}, ("pattern", "url")),
    }
)
_FOUND: Final = shape(
    {
        "attributes": nullable(values(anything)),
        "file_id": text(),
        "filename": text(),
        "score": decimal(),
        "text": text(),
    }
)
_OUTPUT: Final = tagged({"logs": ({"logs": text()}, ("logs",)), "image": ({"url": text()}, ("url",))})
_IMAGE_ERROR: Final = shape(
    {
        "code": _ANY_TEXT,
        "message": text(),
        "param": _ANY_TEXT,
        "type": text(),
        "moderation_details": shape(
            {"categories": strings(), "moderation_stage": one_of("input", "output", "unknown")},
            ("categories", "moderation_stage"),
        ),
    },
    ("code", "message", "param", "type"),
)
_SVG_USAGE: Final[dict[str, Check]] = {
    "model": text(),
    **dict.fromkeys(("input_tokens", "output_tokens", "reasoning_tokens", "total_tokens"), integer(0)),
}
_TOOL: Final = shape(
    {"input_schema": anything, "name": text(), "annotations": anything, "description": _ANY_TEXT},
    ("input_schema", "name"),
)
_CODED: Final[Shape] = ({"code": integer(), "message": text()}, ("code", "message"))
_MCP_ERROR: Final = tagged(
    {
        "mcp_protocol_error": _CODED,
        "mcp_tool_execution_error": ({"content": anything}, ("content",)),
        "http_error": _CODED,
    }
)
_MCP_CALL: Final[dict[str, Check]] = {"server_label": text(), "name": text(), "arguments": text()}


ID_PREFIXES: Final[Mapping[str, str]] = {
    "web_search_call": "ws",
    "file_search_call": "fs",
    "code_interpreter_call": "ci",
    "image_generation_call": "ig",
    "mcp_list_tools": "mcpl",
    "mcp_call": "mcp",
    "mcp_approval_request": "mcpr",
    "mcp_approval_response": "mcpr",
}
"""Beginnings of their ids."""


_SHAPES: Final[Mapping[str, tuple[Mapping[str, Check], Mapping[str, Check]]]] = {
    "web_search_call": ({"action": _ACTION, "status": _SEARCHED}, {}),
    "file_search_call": ({"queries": strings(), "status": _SEARCHED}, {"results": nullable(each(_FOUND))}),
    "code_interpreter_call": (
        {
            "code": _ANY_TEXT,
            "container_id": text(),
            "outputs": nullable(each(_OUTPUT)),
            "status": one_of(*_ENDED, "interpreting"),
        },
        {},
    ),
    "image_generation_call": (
        {"result": _ANY_TEXT, "status": one_of("in_progress", "completed", "generating", "failed")},
        {
            "action": nullable(one_of("generate", "edit", "auto")),
            "background": nullable(one_of("transparent", "opaque", "auto")),
            "error": nullable(_IMAGE_ERROR),
            "output_format": nullable(one_of("png", "webp", "jpeg", "gif", "svg")),
            "quality": nullable(one_of("low", "medium", "high", "xhigh", "max", "auto")),
            "revised_prompt": _ANY_TEXT,
            "size": _ANY_TEXT,
            "svg_usage": nullable(shape(_SVG_USAGE, tuple(_SVG_USAGE))),
        },
    ),
    "mcp_list_tools": ({"server_label": text(), "tools": each(_TOOL)}, {"error": _ANY_TEXT}),
    "mcp_call": (
        _MCP_CALL,
        {
            "approval_request_id": _ANY_TEXT,
            "error": nullable(string_or(_MCP_ERROR, "an object")),
            "output": _ANY_TEXT,
            "status": one_of(*_ENDED, "calling"),
        },
    ),
    "mcp_approval_request": (_MCP_CALL, {}),
    "mcp_approval_response": ({"approval_request_id": text(), "approve": boolean}, {"reason": _ANY_TEXT}),
}
"""The fields that must be there, and the others, beside the id."""
HOSTED_ITEMS: Final[dict[str, Shape]] = {
    kind: (
        {"id": nullable(item_id(ID_PREFIXES[kind])), **required, **optional},
        (*required, *(() if kind == "mcp_approval_response" else ("id",))),
    )
    for kind, (required, optional) in _SHAPES.items()
}
"""Items that the provider made, and the answers to its questions, which alone need no id."""
