"""`ResponsesServer` and tools beside functions: custom ones, hosted ones, and hosted MCP approvals."""

from __future__ import annotations

from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError

from handfast.testing import (
    Reply,
    ResponsesServer,
    Script,
    code_interpreter_item,
    custom_call,
    file_search_item,
    image_generation_item,
    mcp_approval,
    mcp_call_item,
    mcp_tools_item,
    raw,
    text,
    web_search_item,
)

USER = {"role": "user", "content": "hello"}
CUSTOM = {"type": "custom_tool_call", "call_id": "c1", "name": "write", "input": "x"}
WRITTEN = {"type": "custom_tool_call_output", "call_id": "c1", "output": "ok"}
ASKED = {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "wiki", "name": "ask", "arguments": "{}"}
YES = {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}
WIKI = {"type": "mcp", "server_label": "wiki", "server_url": "https://wiki.example/mcp"}
HOSTED = [
    web_search_item("weather"),
    file_search_item("contract", "annex"),
    code_interpreter_item("print(1)", "1\n"),
    image_generation_item("aGVsbG8="),
    mcp_tools_item("wiki", ["ask"]),
    mcp_call_item("wiki", "ask", {"question": "why"}, "because"),
]


async def ask(body: dict[str, Any], *steps: Reply) -> Any:
    """Send one request with the real client; return the decoded reply."""
    server = ResponsesServer(steps or Script.of(lambda request: Reply(text("ok"))))
    async with server, AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0) as client:
        reply = await client.responses.create(**{"model": "m", "input": [USER], **body})
        return reply.to_dict()


@pytest.mark.parametrize(
    ("changes", "param", "message"),
    [
        pytest.param({"input": [USER, CUSTOM]}, "input", "No tool output found for custom tool call c1", id="custom"),
        pytest.param({"input": [USER, WRITTEN]}, "input", "No tool call found for custom tool call", id="no-custom"),
        pytest.param({"input": [USER, CUSTOM, WRITTEN, WRITTEN]}, "input", "Duplicate tool output", id="twice"),
        pytest.param(
            {"input": [USER, CUSTOM, {**WRITTEN, "type": "function_call_output"}]}, "input", "No tool call", id="kind"
        ),
        pytest.param({"input": [USER, {**CUSTOM, "arguments": "{}"}]}, "input[1].arguments", "Unknown", id="more"),
        pytest.param({"input": [USER, {**CUSTOM, "id": "fc_1"}]}, "input[1].id", "begins with 'ctc'", id="custom-id"),
        pytest.param({"input": [USER, ASKED]}, "input", "No tool output found for mcp approval request", id="asked"),
        pytest.param({"input": [USER, YES]}, "input", "No tool call found for mcp approval request", id="unasked"),
        pytest.param({"input": [USER, ASKED, YES, YES]}, "input", "Duplicate tool output", id="yes-twice"),
        pytest.param({"input": [USER, ASKED, ASKED, YES]}, "input", "Duplicate item", id="asked-twice"),
        pytest.param(
            {"input": [USER, ASKED, {**YES, "approve": "yes"}]}, "input[2].approve", "a boolean", id="yes-text"
        ),
        pytest.param({"input": [{"type": "web_search_call", "id": "ws_1"}]}, "input[0].action", "Missing", id="search"),
        pytest.param({"tools": [{"type": "custom"}]}, "tools[0].name", "Missing", id="custom-name"),
        pytest.param(
            {"tools": [{"type": "custom", "name": "w", "parameters": {}}]}, "tools[0].parameters", "Unknown", id="field"
        ),
        pytest.param(
            {"tools": [{"type": "custom", "name": "w", "format": {"type": "grammar", "syntax": "lark"}}]},
            "tools[0].format.definition",
            "Missing",
            id="grammar",
        ),
        pytest.param(
            {"tools": [{"type": "custom", "name": "w"}, {"type": "function", "name": "w"}]},
            "tools[1].name",
            "duplicate",
            id="names",
        ),
        pytest.param({"tools": [WIKI, WIKI]}, "tools", "Duplicate MCP server_label", id="labels"),
        pytest.param(
            {"tools": [{"type": "mcp", "server_label": "a"}]}, "tools[0].server_url", "Exactly one", id="mcp-place"
        ),
        pytest.param(
            {"tools": [{**WIKI, "require_approval": "ask"}]}, "tools[0].require_approval", "'ask'", id="mcp-approval"
        ),
        pytest.param({"tools": [{"type": "file_search"}]}, "tools[0].vector_store_ids", "Missing", id="file-search"),
        pytest.param({"tools": [{"type": "code_interpreter"}]}, "tools[0].container", "Missing", id="container"),
        pytest.param({"tools": [{"type": "web_search", "deep": 1}]}, "tools[0].deep", "Unknown", id="web-search"),
        pytest.param(
            {"tools": [{"type": "image_generation", "quality": "best"}]}, "tools[0].quality", "'best'", id="image"
        ),
    ],
)
async def test_a_request_the_api_would_refuse_is_a_400(changes: dict[str, Any], param: str, message: str) -> None:
    """Each rule of custom calls, hosted tools and approvals is kept."""
    with pytest.raises(BadRequestError) as refused:
        await ask(changes)
    assert refused.value.param == param
    assert message in refused.value.message


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"input": [USER, CUSTOM, WRITTEN]}, id="custom"),
        pytest.param({"input": [USER, ASKED, YES]}, id="approved"),
        pytest.param({"input": [USER, ASKED, {**YES, "approve": False, "reason": "no"}]}, id="denied"),
        pytest.param({"tools": [{"type": "custom", "name": "w", "format": {"type": "text"}}]}, id="custom-tool"),
        pytest.param({"tools": [{**WIKI, "require_approval": {"never": {"tool_names": ["ask"]}}}]}, id="mcp"),
        pytest.param({"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}, id="code"),
        pytest.param({"tools": [{"type": "web_search", "search_context_size": "low"}]}, id="web"),
    ],
)
async def test_a_correct_request_is_answered(changes: dict[str, Any]) -> None:
    """What the real API takes is taken."""
    assert (await ask(changes))["status"] == "completed"


async def test_every_item_that_is_played_may_be_sent_back() -> None:
    """The real client reads each item, and the next request may carry all of them."""
    steps = [
        Reply(*HOSTED, custom_call("write", "some text"), mcp_approval("wiki", "ask", {"question": "why"})),
        Reply(text("done")),
    ]
    async with ResponsesServer(steps) as server:
        async with AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0) as client:
            reply = await client.responses.create(model="m", input="hello")
            output = [item.to_dict(exclude_unset=True) for item in reply.output]
            answers: list[dict[str, Any]] = [
                {"type": "custom_tool_call_output", "call_id": output[-2]["call_id"], "output": "ok"},
                {"type": "mcp_approval_response", "approval_request_id": output[-1]["id"], "approve": False},
            ]
            sent: Any = [USER, *output, *answers]
            again = await client.responses.create(model="m", input=sent)
        assert again.output_text == "done"
        assert server.requests[1].turns == 1
        assert server.requests[1].tool_outputs == {"call_1": "ok"}
        assert server.violations == []


async def test_an_item_may_be_scripted_as_it_is() -> None:
    """`raw` plays what no helper has."""
    assert (await ask({}, Reply(raw(ASKED))))["output"] == [ASKED]
