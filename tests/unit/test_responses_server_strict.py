"""What `ResponsesServer` refuses, as the real API does: each row is a request and its error."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from handfast.testing.responses_server import ResponsesServer, Violation
from handfast.testing.script import Reply, Script, call, reasoning, text

USER = {"role": "user", "content": "hello"}
CALL = {"type": "function_call", "call_id": "call_x", "name": "run", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_x", "output": "ok"}
THOUGHT = {"type": "reasoning", "id": "rs_x", "summary": [], "encrypted_content": "abc"}
ANSWER = {"role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}


@pytest.fixture
async def server() -> AsyncIterator[ResponsesServer]:
    async with ResponsesServer(Script.of(lambda request: Reply(text("ok")))) as running:
        yield running


async def post(
    server: ResponsesServer,
    body: object,
    *,
    path: str = "/responses",
    method: str = "POST",
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, Any]]:
    """Send *body* as it is (bytes) or as JSON, and return status and decoded reply."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"authorization": "Bearer test", "content-type": "application/json"} | (headers or {})
    async with httpx2.AsyncClient() as client:
        reply = await client.request(method, f"{server.base_url}{path}", content=content, headers=sent)
    return reply.status_code, reply.json()


def strict_tool(parameters: object, **fields: object) -> dict[str, object]:
    return {"type": "function", "name": "run", "strict": True, "parameters": parameters} | fields


def closed(**properties: object) -> dict[str, object]:
    required = list(properties)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


TEXT = {"type": "string"}
EMPTY = "empty string. Expected a string with minimum length 1, but got an empty string instead."
FOLLOWING = "Item 'rs_x' of type 'reasoning' was provided without its required following item."
EVERY = "'required' is required to be supplied and to be an array including every key in properties."


@pytest.mark.parametrize(
    ("changes", "param", "message"),
    [
        pytest.param({"model": None}, "model", "expected a string, but got null", id="model-null"),
        pytest.param({"x": 1}, "x", "Unknown parameter: 'x'.", id="unknown"),
        pytest.param({"temperature": "hot"}, "temperature", "expected a decimal, but got a string", id="type"),
        pytest.param({"temperature": 3}, "temperature", "Expected a value <= 2, but got 3", id="above"),
        pytest.param({"max_output_tokens": 1}, "max_output_tokens", "a value >= 16, but got 1", id="below"),
        pytest.param({"max_output_tokens": True}, "max_output_tokens", "expected an integer", id="bool-no-int"),
        pytest.param({"store": "yes"}, "store", "expected a boolean", id="store"),
        pytest.param({"stream": 1}, "stream", "expected a boolean, but got an integer", id="stream"),
        pytest.param({"truncation": "some"}, "truncation", "'auto' and 'disabled'", id="value"),
        pytest.param({"metadata": {"a": 1}}, "metadata.a", "expected a string", id="metadata"),
        pytest.param({"metadata": dict.fromkeys(map(str, range(17)), "")}, "metadata", "16", id="metadata-17"),
        pytest.param({"include": ["all"]}, "include[0]", "Invalid value: 'all'", id="include"),
        pytest.param({"reasoning": {"effort": "huge"}}, "reasoning.effort", "'huge'", id="effort"),
        pytest.param({"reasoning": {"a": 1}}, "reasoning.a", "Unknown parameter", id="reasoning-unknown"),
        pytest.param({"stream_options": {}}, "stream_options", "only allowed when 'stream'", id="options"),
        pytest.param({"background": True, "store": False}, "background", "requires 'store'", id="background"),
        pytest.param({"conversation": 3}, "conversation", "one of an object or string", id="conversation-number"),
        pytest.param({"conversation": {}}, "conversation.id", "Missing", id="conversation-without-id"),
        pytest.param({"conversation": "c1"}, "conversation", "begins with 'conv_'", id="conversation-id"),
        pytest.param({"input": []}, "input", 'One of "input"', id="input-empty"),
        pytest.param({"input": 3}, "input", "one of an array of objects or string", id="input-number"),
        pytest.param({"input": ["a"]}, "input[0]", "expected an object", id="item-string"),
        pytest.param({"input": [{"type": "x"}]}, "input[0]", "Invalid value: 'x'.", id="item-type"),
        pytest.param({"input": [{"type": 3}]}, "input[0].type", "expected a string", id="item-type-3"),
        pytest.param({"input": [{"a": 1}]}, "input[0].type", "Missing required", id="item-without-type"),
        pytest.param({"input": [{"role": "user"}]}, "input[0].content", "Missing", id="no-content"),
        pytest.param({"input": [{"content": "x"}]}, "input[0].role", "Missing", id="no-role"),
        pytest.param({"input": [{**USER, "role": "tool"}]}, "input[0].role", "'tool'", id="role"),
        pytest.param({"input": [{**USER, "name": "x"}]}, "input[0].name", "Unknown", id="message-unknown"),
        pytest.param({"input": [{**USER, "content": None}]}, "input[0].content", "null", id="content-null"),
        pytest.param(
            {"input": [{"role": "user", "content": [{"type": "output_text", "text": "x"}]}]},
            "input[0].content[0]",
            "Invalid value: 'output_text'.",
            id="output-text-of-user",
        ),
        pytest.param(
            {"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]},
            "input[0].content[0]",
            "Invalid value: 'input_text'. Supported values are: 'output_text' and 'refusal'.",
            id="input-text-of-assistant",
        ),
        pytest.param(
            {"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
            "input[0].content[0].text",
            "Missing",
            id="part-without-text",
        ),
        pytest.param(
            {"input": [{"role": "user", "content": "x" * 10_485_761}]},
            "input[0].content",
            "string too long. Expected a string with maximum length 10485760",
            id="content-too-long",
        ),
        *[
            pytest.param(
                {"input": [{key: value for key, value in CALL.items() if key != name}]},
                f"input[0].{name}",
                f"Missing required parameter: 'input[0].{name}'.",
                id=f"call-without-{name}",
            )
            for name in ("call_id", "name", "arguments")
        ],
        pytest.param({"input": [{**CALL, "arguments": ""}]}, "input[0].arguments", EMPTY, id="arguments-empty"),
        pytest.param({"input": [{**CALL, "arguments": {}}]}, "input[0].arguments", "a string", id="arguments"),
        pytest.param({"input": [{**CALL, "call_id": ""}]}, "input[0].call_id", EMPTY, id="call-id-empty"),
        pytest.param(
            {"input": [{**CALL, "call_id": "c" * 65}]},
            "input[0].call_id",
            "Expected a string with maximum length 64, but got a string with length 65 instead.",
            id="call-id-long",
        ),
        pytest.param({"input": [{**CALL, "name": "a b"}]}, "input[0].name", "does not match", id="call-name"),
        pytest.param({"input": [{**CALL, "id": "call_1"}]}, "input[0].id", "begins with 'fc'", id="call-item-id"),
        pytest.param({"input": [{**CALL, "status": None}]}, "input[0].status", "null", id="status-null"),
        pytest.param({"input": [{**CALL, "parsed_arguments": 1}]}, "input[0].parsed_arguments", "Unknown", id="parsed"),
        pytest.param(
            {"input": [CALL, {**OUTPUT, "output": {"a": 1}}]},
            "input[1].output",
            "one of an array of objects or string",
            id="output-object",
        ),
        pytest.param({"input": [CALL]}, "input", "No tool output found for function call call_x.", id="no-output"),
        pytest.param(
            {"input": [USER, OUTPUT]},
            "input",
            "No tool call found for function call output with call_id call_x.",
            id="orphan-output",
        ),
        pytest.param({"input": [OUTPUT, CALL]}, "input", "No tool call found", id="output-before-call"),
        pytest.param({"input": [CALL, OUTPUT, OUTPUT]}, "input", "Duplicate tool output", id="two-outputs"),
        pytest.param({"input": [CALL, CALL, OUTPUT]}, "input", "Duplicate function call", id="two-calls"),
        pytest.param({"input": [USER, THOUGHT]}, "input", FOLLOWING, id="reasoning-last"),
        pytest.param({"input": [THOUGHT, USER]}, "input", FOLLOWING, id="reasoning-then-user"),
        pytest.param(
            {"input": [{**ANSWER, "id": "msg_1"}, {**ANSWER, "id": "msg_1"}]},
            "input",
            "Duplicate item found with id msg_1.",
            id="two-ids",
        ),
        pytest.param(
            {"previous_response_id": "resp_x"},
            "previous_response_id",
            "Previous response with id 'resp_x' not found.",
            id="previous",
        ),
        pytest.param({"tools": [{"name": "run"}]}, "tools[0].type", "Missing", id="tool-type"),
        pytest.param({"tools": [{"type": "function"}]}, "tools[0].name", "Missing", id="tool-unnamed"),
        pytest.param(
            {"tools": [strict_tool(closed(), name="a b")]},
            "tools[0].name",
            "'^[a-zA-Z0-9_-]+$'",
            id="tool-name",
        ),
        pytest.param({"tools": [strict_tool(closed(), name="a" * 65)]}, "tools[0].name", "64", id="tool-name-65"),
        pytest.param({"tools": [strict_tool(closed())] * 2}, "tools[1].name", "duplicate", id="tools-twice"),
        pytest.param(
            {"tools": [strict_tool(closed(), name=f"t{n}") for n in range(129)]},
            "tools",
            "128",
            id="tools-129",
        ),
        pytest.param({"tools": [strict_tool(closed(), code=1)]}, "tools[0].code", "Unknown", id="tool-unknown"),
        pytest.param(
            {"tools": [strict_tool({"type": "object", "properties": {}})]},
            "tools[0].parameters",
            "Invalid schema for function 'run': In context=(), 'additionalProperties' is required to be "
            "supplied and to be false.",
            id="strict-open",
        ),
        pytest.param(
            {"tools": [strict_tool(closed(a=TEXT) | {"required": []})]},
            "tools[0].parameters",
            f"In context=(), {EVERY} Missing 'a'.",
            id="strict-optional",
        ),
        pytest.param(
            {"tools": [strict_tool(closed(a={"type": "array", "items": {"type": "object"}}))]},
            "tools[0].parameters",
            "In context=('properties', 'a', 'items'), 'additionalProperties' is required",
            id="strict-nested-open",
        ),
        pytest.param(
            {"tools": [strict_tool(closed(a={"$ref": "#/$defs/A"}) | {"$defs": {"A": {"type": "object"}}})]},
            "tools[0].parameters",
            "In context=('$defs', 'A'), 'additionalProperties'",
            id="strict-definition-open",
        ),
        pytest.param(
            {"tools": [strict_tool(closed(a={"anyOf": [TEXT, {"type": "object"}]}))]},
            "tools[0].parameters",
            "In context=('properties', 'a', 'anyOf', '1'), 'additionalProperties'",
            id="strict-branch-open",
        ),
        pytest.param(
            {"tools": [strict_tool(closed(a={"$ref": "#/$defs/A"}))]},
            "tools[0].parameters",
            "reference to component '#/$defs/A' which was not found",
            id="strict-reference",
        ),
        pytest.param({"tools": [strict_tool(closed(a={}))]}, "tools[0].parameters", "'type' key", id="strict-any"),
        pytest.param({"tools": [strict_tool(TEXT)]}, "tools[0].parameters", "got 'type: \"string\"'", id="no-object"),
        pytest.param({"tools": [strict_tool(None)]}, "tools[0].parameters", "got 'type: \"None\"'", id="no-schema"),
        pytest.param(
            {"tool_choice": {"type": "function", "name": "absent"}},
            "tool_choice",
            "Tool choice 'absent' not found in 'tools' parameter.",
            id="choice-absent",
        ),
        pytest.param({"tool_choice": "required"}, "tool_choice", "'tools' parameter", id="choice-without-tools"),
        pytest.param({"tool_choice": "some"}, "tool_choice", "Invalid value: 'some'.", id="choice-value"),
        pytest.param(
            {
                "text": {
                    "format": {
                        "type": "json_schema",
                        "name": "Out",
                        "strict": True,
                        "schema": {"type": "object"},
                    }
                }
            },
            "text.format.schema",
            "Invalid schema for response_format 'Out': In context=(), 'additionalProperties' is required",
            id="format-open",
        ),
        pytest.param({"text": {"format": {"type": "xml"}}}, "text.format.type", "'xml'", id="format-type"),
        pytest.param(
            {"text": {"format": {"type": "json_object"}}},
            "input",
            "must contain the word 'json'",
            id="json-word",
        ),
    ],
)
async def test_a_request_the_api_would_refuse_is_a_400(
    server: ResponsesServer, changes: dict[str, object], param: str, message: str
) -> None:
    """The error has OpenAI's shape, names the parameter at fault, and is listed as a violation."""
    status, reply = await post(server, {"model": "m", "input": "hello"} | changes)
    assert status == 400, reply
    assert reply["error"].keys() == {"message", "type", "param", "code"}
    assert (reply["error"]["type"], reply["error"]["param"]) == ("invalid_request_error", param)
    assert message in reply["error"]["message"]
    error = reply["error"]
    assert server.violations == [Violation(1, 400, error["message"], error["code"], error["param"])]
    assert server.requests[0].state == "refused"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"temperature": None, "reasoning": {"effort": None}, "store": None}, id="nulls"),
        pytest.param({"input": [USER, THOUGHT, CALL, OUTPUT, THOUGHT | {"id": "rs_2"}, ANSWER, USER]}, id="turns"),
        pytest.param({"input": [{"role": "assistant", "content": "plain"}]}, id="assistant-string"),
        pytest.param({"input": [CALL, {**OUTPUT, "output": [{"type": "input_text", "text": "x"}]}]}, id="parts"),
        pytest.param({"input": [CALL, USER, OUTPUT]}, id="message-between"),
        pytest.param({"tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}]}, id="lax-tool"),
        pytest.param({"tools": [{"type": "function", "name": "f", "parameters": None}]}, id="no-parameters"),
        pytest.param({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}, id="hosted-tool"),
        pytest.param(
            {
                "tools": [
                    strict_tool(
                        closed(a={"$ref": "#/$defs/A"}, b={"type": ["string", "null"]}, c={"enum": ["x"]})
                        | {"$defs": {"A": closed(next={"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]})}}
                    )
                ],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "function", "name": "run"}],
                },
            },
            id="strict-tool",
        ),
        pytest.param({"tools": [strict_tool(closed(a={**TEXT, "default": ""}))]}, id="strict-default"),
        pytest.param({"include": ["reasoning.encrypted_content"], "metadata": {"run": "1"}}, id="include"),
        pytest.param({"text": {"format": {"type": "json_object"}}, "instructions": "Use JSON."}, id="json-word"),
    ],
)
async def test_a_correct_request_is_answered(server: ResponsesServer, changes: dict[str, object]) -> None:
    """Strict does not mean narrow: what the real API accepts is accepted."""
    status, reply = await post(server, {"model": "m", "input": "hello"} | changes)
    assert status == 200, reply
    assert server.violations == []


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut"),
        pytest.param(b"[]", id="array"),
        pytest.param(b'{"model": "m", "input": "x", "temperature": NaN}', id="nan"),
        pytest.param(b'{"model": "m", "input": "\\ud800"}', id="lone-surrogate"),
        pytest.param(b'{"model": "m", "input": "\xff"}', id="no-utf-8"),
        pytest.param(b'{"input":' + b"[" * 100_000, id="deep"),
    ],
)
async def test_a_body_that_is_no_json_is_a_400(server: ResponsesServer, body: bytes) -> None:
    """The error says that the body could not be parsed."""
    status, reply = await post(server, body)
    assert status == 400
    assert reply["error"]["message"].startswith("We could not parse the JSON body of your request.")


@pytest.mark.parametrize(
    ("missing", "param"),
    [pytest.param("model", "model", id="model"), pytest.param("input", "input", id="input")],
)
async def test_what_is_required_must_be_there(server: ResponsesServer, missing: str, param: str) -> None:
    """A request without model, or without anything to go on from, is refused."""
    body = {"model": "m", "input": "hello"}
    del body[missing]
    status, reply = await post(server, body)
    assert (status, reply["error"]["param"], reply["error"]["code"]) == (
        400,
        param,
        "missing_required_parameter",
    )


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param({"headers": {"authorization": ""}}, 401, id="no-key"),
        pytest.param({"headers": {"authorization": "Bearer"}}, 401, id="empty-key"),
        pytest.param({"headers": {"authorization": "Basic abc"}}, 401, id="other-scheme"),
        pytest.param({"path": "/embeddings"}, 404, id="other-path"),
        pytest.param({"path": "/responses/resp_x", "method": "GET"}, 404, id="unknown-response"),
        pytest.param({"path": "/responses", "method": "GET"}, 405, id="method"),
        pytest.param({"headers": {"content-type": "text/plain"}}, 400, id="content-type"),
    ],
)
async def test_key_path_method_and_media_type_are_checked(
    server: ResponsesServer, request_: dict[str, Any], status: int
) -> None:
    """Requests that the API would not even look into are refused with its statuses."""
    got, reply = await post(server, {"model": "m", "input": "x"}, **request_)
    assert got == status
    assert reply["error"]["message"]


async def test_a_chain_is_checked_as_a_whole() -> None:
    """With `previous_response_id`, outputs must answer the stored calls: all of them, and once."""
    steps = [Reply(call("a"), call("b")), Reply(text("done"))]
    async with ResponsesServer(steps) as server:
        _, first = await post(server, {"model": "m", "input": "go"})
        one, two = ({**OUTPUT, "call_id": call_id} for call_id in ("call_1", "call_2"))
        body = {"model": "m", "previous_response_id": first["id"]}
        messages = [
            (await post(server, body | {"input": items}))[1]["error"]["message"]
            for items in ([one], [USER], [one, one, two], [one, two, OUTPUT], [first["output"][0], one, two])
        ]
        status, _ = await post(server, body | {"input": [two, one]})
    assert messages == [
        "No tool output found for function call call_2.",
        "No tool output found for function call call_1.",
        "Duplicate tool output found for call_id call_1.",
        "No tool call found for function call output with call_id call_x.",
        f"Duplicate item found with id {first['output'][0]['id']}. "
        "Remove duplicate items from your input and try again.",
    ]
    assert status == 200


async def test_an_unstored_response_cannot_be_continued(server: ResponsesServer) -> None:
    """A response made with store=false is unknown to `previous_response_id`."""
    _, first = await post(server, {"model": "m", "input": "go", "store": False})
    status, reply = await post(server, {"model": "m", "input": "on", "previous_response_id": first["id"]})
    assert (status, reply["error"]["code"]) == (400, "previous_response_not_found")


async def test_reasoning_travels_with_what_it_led_to() -> None:
    """Of a stored reply neither the reasoning nor the call after it may come back alone."""
    async with ResponsesServer([Reply(reasoning("hm", encrypted=""), call("a"))]) as server:
        _, first = await post(server, {"model": "m", "input": "go"})
        thought, made = first["output"]
        output = {**OUTPUT, "call_id": "call_1"}
        _, alone = await post(server, {"model": "m", "input": [thought, output]})
        _, without = await post(server, {"model": "m", "input": [made, output]})
        status, unknown = await post(server, {"model": "m", "input": [{**thought, "id": "rs_other"}, made, output]})
    assert f"'{thought['id']}' of type 'reasoning' was provided without its required" in alone["error"]["message"]
    assert f"without its required 'reasoning' item: '{thought['id']}'" in without["error"]["message"]
    assert (status, "Item with id 'rs_other' not found." in unknown["error"]["message"]) == (404, True)


async def test_items_may_be_sent_by_reference() -> None:
    """An item reference stands for a stored item, and an unknown one is refused."""
    async with ResponsesServer([Reply(call("a")), Reply(text("done"))]) as server:
        _, first = await post(server, {"model": "m", "input": "go"})
        output = {**OUTPUT, "call_id": "call_1"}
        reference = {"type": "item_reference", "id": first["output"][0]["id"]}
        assert (await post(server, {"model": "m", "input": [reference, output]}))[0] == 200
        assert (await post(server, {"model": "m", "input": [{"id": "fc_other"}, output]}))[0] == 404
