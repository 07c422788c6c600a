"""The servers that speak Chat Completions: what they say is read, what goes back is taken, refusals are known."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from handfast import ChatCompletionsModel
from handfast.models.chat.form import Form, LearnedForms
from handfast.models.input_items import wire_items, with_own_ids
from handfast.models.port import ModelCallError, ModelDelta, ModelRequest
from handfast.models.provider_error import ProviderError
from handfast.testing import Fail, Pause, Reply, ResponsesServer, Script, Verbatim, call, reasoning, text
from handfast.testing.chat.dialects import CHAT_DIALECTS
from handfast.testing.script import Step, Usage
from handfast.workflows.frame.items import output_item

LOOK: dict[str, Any] = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
CALLED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
}
ANSWERED = {"role": "tool", "tool_call_id": "c1", "content": "on"}
USER = {"role": "user", "content": "Is it on?"}
NAMES = pytest.mark.parametrize("name", CHAT_DIALECTS)
HOW = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


@asynccontextmanager
async def server_of(
    name: str, script: Script | list[Step]
) -> AsyncIterator[tuple[ResponsesServer, openai.AsyncOpenAI]]:
    """A server of a dialect, and a client of it."""
    async with (
        ResponsesServer(script, dialect=name) as server,
        openai.AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0) as client,
    ):
        yield server, client


def request_of(*items: dict[str, Any], deltas: list[ModelDelta] | None = None, **more: Any) -> ModelRequest:
    """A request with one tool; streamed where its deltas are wanted."""
    asked: Any = {"model": "m", "instructions": "Help.", "tools": [LOOK], **more}
    return ModelRequest(items=wire_items(items, "default"), on_delta=None if deltas is None else deltas.append, **asked)


@HOW
@NAMES
async def test_a_turn_with_parallel_calls_goes_through(name: str, streamed: bool) -> None:
    """Reasoning, text, calls and usage read the same on every server, and each takes back what it has said."""
    first = Reply(
        reasoning("fans first"), text("One moment."), call("look", {"at": "fans"}), call("look"), usage=Usage(30, 20)
    )
    deltas: list[ModelDelta] | None = [] if streamed else None
    async with server_of(name, [first, Reply(text("All is on."), usage=Usage(60, 5))]) as (server, client):
        entry = ChatCompletionsModel(client)
        asked = {"role": "user", "content": "Look."}
        answer = await entry.answer(request_of(asked, deltas=deltas))
        items = [with_own_ids(item, "default") for item in answer.items]
        outputs = [output_item(item, "on") for item in items if item["type"] == "function_call"]
        last = await entry.answer(request_of(asked, *items, *outputs, deltas=deltas))
    assert server.violations == []
    assert [item["type"] for item in items] == ["reasoning", "message", "function_call", "function_call"]
    thought, said, one, two = items
    assert (thought["content"][0]["text"], said["content"][0]["text"]) == ("fans first", "One moment.")
    assert [(each["name"], each["arguments"]) for each in (one, two)] == [("look", '{"at":"fans"}'), ("look", "{}")]
    assert one["call_id"] != two["call_id"]
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (30, 20, 50)
    assert last.items[0]["content"][0]["text"] == "All is on."
    assert last.usage.total_tokens == 65
    if deltas is not None:
        told = {kind: "".join(each.text for each in deltas if each.kind == kind) for kind in ("text", "reasoning")}
        assert told == {"text": "One moment.All is on.", "reasoning": "fans first"}


@HOW
@NAMES
async def test_a_failure_is_read_in_the_words_of_its_server(name: str, streamed: bool) -> None:
    """A refusal is final and quoted; a busy server is asked again; a stream may fail after it began."""
    steps: list[Step] = [
        Fail(400, "this model has no wings"),
        Fail(429, retry_after=3),
        Pause("gate", Reply(text("one two three four")), after=1, error="server_error"),
    ]
    async with server_of(name, steps) as (server, client):
        server.open("gate")
        entry = ChatCompletionsModel(client)
        deltas: list[ModelDelta] | None = [] if streamed else None
        failures = [await failure_of(entry, request_of(USER, deltas=deltas)) for _ in steps[: 3 if streamed else 2]]
    refused, busy, *broken = failures
    assert (refused.kind, "this model has no wings" in refused.message) == ("ModelRefused", True)
    assert busy.retryable
    assert busy.retry_after is not None
    assert all(each.retryable for each in broken)


async def failure_of(entry: ChatCompletionsModel, request: ModelRequest) -> ModelCallError:
    """The failure of a request."""
    with pytest.raises(ModelCallError) as failed:
        await entry.answer(request)
    return failed.value


REFUSED = [
    pytest.param(
        "openai",
        {
            "messages": [
                {
                    **CALLED,
                    "tool_calls": [{"id": "", "type": "function", "function": {"name": "l", "arguments": "{}"}}],
                },
                {**ANSWERED, "tool_call_id": ""},
            ]
        },
        "empty string",
        id="openai-empty-id",
    ),
    pytest.param("openai", {"colour": 1}, "Unknown parameter", id="openai-unknown"),
    pytest.param("azure", {"colour": 1}, "Unknown parameter", id="azure-unknown"),
    pytest.param(
        "ollama",
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]}
            ]
        },
        "invalid image input",
        id="ollama-picture-by-address",
    ),
    pytest.param(
        "ollama",
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
        "invalid message format",
        id="ollama-file",
    ),
    pytest.param("ollama", {"reasoning_effort": "minimal"}, "invalid reasoning value", id="ollama-effort"),
    pytest.param("vllm", {"tool_choice": "required"}, "`tools` must be set", id="vllm-choice"),
    pytest.param(
        "vllm",
        {
            "messages": [
                {
                    **CALLED,
                    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "l", "arguments": ""}}],
                },
                ANSWERED,
            ]
        },
        "Expecting value",
        id="vllm-arguments",
    ),
    pytest.param(
        "lmstudio", {"response_format": {"type": "json_object"}}, "must be 'json_schema'", id="lmstudio-format"
    ),
    pytest.param(
        "lmstudio",
        {
            "tools": [{"type": "function", "function": {"name": "look"}}],
            "tool_choice": {"type": "function", "function": {"name": "look"}},
        },
        "Invalid tool_choice type",
        id="lmstudio-choice",
    ),
    pytest.param("litellm", {"messages": [USER, CALLED, ANSWERED]}, "thought_signature", id="litellm-signature"),
    *(
        pytest.param(name, {"messages": [USER, CALLED, USER]}, "did not have response messages", id=f"{name}-no-output")
        for name in CHAT_DIALECTS
    ),
]


@pytest.mark.parametrize(("name", "body", "said"), REFUSED)
async def test_what_a_server_refuses_is_refused(name: str, body: dict[str, Any], said: str) -> None:
    """Each dialect refuses what its server does, in its words."""
    async with server_of(name, []) as (server, client):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.post("/chat/completions", cast_to=object, body={"model": "m", "messages": [USER], **body})
    assert said in refused.value.response.text
    assert len(server.violations) == 1


@pytest.mark.parametrize("name", [name for name, each in CHAT_DIALECTS.items() if not each.strict])
async def test_servers_that_are_not_strict_ignore_what_they_do_not_know(name: str) -> None:
    """A parameter of another server is no mistake there."""
    async with server_of(name, [Reply(text("fine"))]) as (server, client):
        await client.post("/chat/completions", cast_to=object, body={"model": "m", "messages": [USER], "colour": 1})
    assert server.violations == []


@HOW
@pytest.mark.parametrize("name", ["openrouter", "litellm"])
async def test_signed_reasoning_that_is_missing_is_refused(name: str, streamed: bool) -> None:
    """Where a model signs what it thought, a call without it is refused; an entry that drops reasoning meets that."""
    script = Script.of(lambda request: Reply(reasoning("hm"), call("look")))
    async with server_of(name, script) as (_, client):
        entry = ChatCompletionsModel(client, reasoning="drop")
        deltas: list[ModelDelta] | None = [] if streamed else None
        answer = await entry.answer(request_of(USER, deltas=deltas))
        thought, called = (with_own_ids(item, "default") for item in answer.items)
        output = output_item(called, "on")
        failed = await failure_of(entry, request_of(USER, thought, called, output, deltas=deltas))
    assert failed.kind == "ModelRefused"
    assert "cannot be modified" in failed.message


FOREIGN = [
    {"type": "function_call", "call_id": f"chatcmpl-tool-{'0' * 32}", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": f"chatcmpl-tool-{'0' * 32}", "output": "on"},
]


FOREIGN_SHORT = [{**item, "call_id": "c1"} for item in FOREIGN]


async def test_ids_of_another_server_are_shortened_where_this_one_refuses_them() -> None:
    """OpenAI takes 40 characters in the id of a call: what began elsewhere goes on, and it is learned."""
    async with server_of("openai", [Reply(text("fine")), Reply(text("fine"))]) as (server, client):
        entry = ChatCompletionsModel(client)
        for _ in range(2):
            await entry.answer(request_of(USER, *FOREIGN))
    assert [each.code for each in server.violations] == ["string_above_max_length"]
    assert len(server.requests) == 3
    messages = server.requests[-1].body["messages"]
    [called] = messages[2]["tool_calls"]
    assert (len(called["id"]), messages[3]["tool_call_id"]) == (9, called["id"])


async def test_ids_are_shortened_as_mistral_wants_them() -> None:
    """Nine letters and digits, as Mistral says itself; a refusal that is none of ids is left alone."""
    steps: list[Step] = [
        Fail(400, "Tool call id was chatcmpl-tool-0 but must be a-z, A-Z, 0-9, with a length of 9."),
        Reply(text("fine")),
        Fail(400, "messages with role 'tool' must be a response to each 'tool_call_id'"),
    ]
    async with server_of("openai", steps) as (server, client):
        await ChatCompletionsModel(client).answer(request_of(USER, *FOREIGN_SHORT))
        assert server.requests[-1].body["messages"][2]["tool_calls"][0]["id"].isalnum()
        await failure_of(ChatCompletionsModel(client), request_of(USER, *FOREIGN_SHORT))
    assert len(server.requests) == 3


THOUGHT: dict[str, Any] = {
    "type": "reasoning",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "hm"}],
    "provider_fields": {"client": "default", "field": "reasoning"},
}
LEARNED = [
    pytest.param(
        Fail(
            400,
            "'messages.2' : for 'role:assistant' the following must be satisfied[('messages.2' : property 'reasoning' "
            "is unsupported)]",
        ),
        lambda body: not any("reasoning" in message for message in body["messages"]),
        ("messages.reasoning",),
        id="groq-reasoning",
    ),
    pytest.param(
        Verbatim(
            {
                "detail": [
                    {
                        "type": "extra_forbidden",
                        "loc": ["body", "messages", 2, "assistant", "reasoning"],
                        "msg": "Extra inputs are not permitted",
                    }
                ]
            },
            status=422,
        ),
        lambda body: not any("reasoning" in message for message in body["messages"]),
        ("messages.reasoning",),
        id="mistral-reasoning",
    ),
    pytest.param(
        Fail(400, "property 'tools.0.function.strict' is unsupported"),
        lambda body: "strict" not in body["tools"][0]["function"],
        ("tools.strict",),
        id="strict",
    ),
    pytest.param(
        Fail(400, "Unknown parameter: 'stream_options'.", "unknown_parameter", param="stream_options"),
        lambda body: "stream_options" not in body,
        ("stream_options",),
        id="stream-options",
    ),
    pytest.param(
        Fail(400, "json: unknown field max_completion_tokens"),
        lambda body: body.get("max_tokens") == 9 and "max_completion_tokens" not in body,
        (),
        id="limit",
    ),
]


@pytest.mark.parametrize(("refusal", "holds", "left_out"), LEARNED)
async def test_what_a_server_refuses_and_can_do_without_is_learned(
    refusal: Step, holds: Callable[[dict[str, Any]], bool], left_out: tuple[str, ...]
) -> None:
    """The same request goes again in a form that the server takes, the reply says so, and later ones begin with it."""
    request = request_of(
        USER,
        THOUGHT,
        *FOREIGN_SHORT,
        deltas=[],
        tools=[{**LOOK, "strict": True, "parameters": {**LOOK["parameters"], "additionalProperties": False}}],
        settings={"max_output_tokens": 9},
    )
    async with server_of("vllm", [refusal, Reply(text("fine")), Reply(text("fine"))]) as (server, client):
        entry = ChatCompletionsModel(client)
        first, second = await entry.answer(request), await entry.answer(request)
    assert [holds(each.body) for each in server.requests] == [False, True, True]
    assert (first.left_out, second.left_out) == (left_out, left_out)


def test_requests_that_are_refused_at_the_same_time_learn_once() -> None:
    """Two requests meet the same refusal: both go again in the new form, and a third refusal of it is final."""
    forms = LearnedForms(Form())
    said = ProviderError(message="Unknown parameter: 'stream_options'.", status=400, code="unknown_parameter")
    error = ModelCallError("ModelRefused", said.message, retryable=False, said=said)
    sent = forms.of("m")
    assert forms.learn("m", error, sent)
    assert forms.learn("m", error, sent)
    assert not forms.learn("m", error, forms.of("m"))
    assert (forms.of("m").usage_in_stream, forms.of("other").usage_in_stream) == (False, True)
