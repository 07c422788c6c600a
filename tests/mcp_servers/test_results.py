"""What an MCP server returns, as the model reads it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from mcp_types import CallToolResult

from handfast import File, Image, Text
from handfast.mcp.results import value_of
from handfast.mcp.tool import McpToolError

PIXEL = b"\x89PNG"
ENCODED = base64.b64encode(PIXEL).decode()
HELLO = {"type": "text", "text": "hello"}


@pytest.mark.parametrize(
    ("result", "value"),
    [
        pytest.param({"content": [HELLO]}, "hello", id="a-text"),
        pytest.param({"content": [HELLO, HELLO]}, "hello\nhello", id="two-texts"),
        pytest.param({"content": []}, "", id="nothing"),
        pytest.param(
            {"content": [{"type": "text", "text": '{"a": 1}'}], "structuredContent": {"a": 1}},
            {"a": 1},
            id="structured",
        ),
        pytest.param(
            {"content": [{"type": "text", "text": "5"}], "structuredContent": {"result": 5}},
            {"result": 5},
            id="wrapped",
        ),
        pytest.param(
            {"content": [HELLO], "structuredContent": {"a": 1}},
            [Text("hello"), Text('{"a": 1}')],
            id="text-and-structure",
        ),
        pytest.param(
            {"content": [HELLO, {"type": "image", "data": ENCODED, "mimeType": "image/png"}]},
            [Text("hello"), Image(data=PIXEL, media_type="image/png")],
            id="image",
        ),
        pytest.param(
            {"content": [{"type": "audio", "data": ENCODED, "mimeType": "audio/wav"}]},
            "[audio/wav, 4 bytes: not shown]",
            id="audio",
        ),
        pytest.param(
            {"content": [{"type": "image", "data": "§", "mimeType": "image/png"}]},
            "[image/png that cannot be decoded]",
            id="no-base64",
        ),
        pytest.param(
            {"content": [{"type": "resource_link", "uri": "file:///a", "name": "a", "description": "the first"}]},
            "a: file:///a (the first)",
            id="link",
        ),
        pytest.param(
            {"content": [{"type": "resource", "resource": {"uri": "file:///a", "text": "inside"}}]},
            "inside",
            id="embedded",
        ),
        pytest.param(
            {
                "content": [
                    {
                        "type": "resource",
                        "resource": {"uri": "file:///a.pdf", "blob": ENCODED, "mimeType": "application/pdf"},
                    }
                ]
            },
            [File(data=PIXEL, filename="a.pdf", media_type="application/pdf")],
            id="file",
        ),
    ],
)
def test_results_keep_texts_images_and_structure(result: Any, value: Any) -> None:
    """A value is a value, parts are parts; what no model can be given is named in its place."""
    assert value_of(CallToolResult.model_validate(result)) == value


@pytest.mark.parametrize(
    ("result", "text"),
    [
        pytest.param({"content": [HELLO]}, "hello", id="its-text"),
        pytest.param({"content": [], "structuredContent": {"a": 1}}, '{"a": 1}', id="its-structure"),
        pytest.param({"content": []}, "the server says that the call failed, and not why", id="nothing"),
    ],
)
def test_a_result_that_is_an_error_is_one(result: Any, text: str) -> None:
    """The model reads the server's own words."""
    with pytest.raises(McpToolError) as raised:
        value_of(CallToolResult.model_validate({**result, "isError": True}))
    assert str(raised.value) == text
