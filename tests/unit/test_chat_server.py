"""The scripted server checks Chat Completions as the real API does, and answers as it does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai.types.chat import ChatCompletion

from handfast.testing import (
    Compacted,
    Drop,
    Fail,
    Pause,
    Reply,
    ResponsesServer,
    Script,
    call,
    reasoning,
    refusal,
    text,
)
from handfast.testing.script import Step, Usage, web_search_item

USER = {"role": "user", "content": "Is it on?"}
INPUT_TEXT = {"type": "input_text", "text": "x"}
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
CALLED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
}
ANSWERED = {"role": "tool", "tool_call_id": "c1", "content": "on"}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


@pytest_asyncio.fixture(loop_scope="session")
async def server() -> AsyncIterator[ResponsesServer]:
    async with ResponsesServer(Script.of(lambda request: Reply(text("fine")))) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def client(server: ResponsesServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0) as made:
        yield made


async def create(client: openai.AsyncOpenAI, **body: Any) -> Any:
    return await client.chat.completions.create(**{"model": "m", "messages": [USER], **body})


async def test_a_valid_request_is_answered(client: openai.AsyncOpenAI, server: ResponsesServer) -> None:
    """Everything that an agent's request may hold is accepted."""
    completion = await create(
        client,
        messages=[{"role": "system", "content": "Help."}, USER, CALLED, ANSWERED],
        tools=[LOOK, {"type": "custom", "custom": {"name": "note"}}],
        tool_choice={"type": "function", "function": {"name": "look"}},
        parallel_tool_calls=False,
        temperature=0.5,
        max_completion_tokens=100,
        reasoning_effort="low",
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "r", "strict": True, "schema": {**OPEN, "additionalProperties": False}},
        },
    )
    assert completion.choices[0].message.content == "fine"
    assert server.violations == []
    [request] = server.created
    assert (request.instructions, request.first_user_text, request.tool_names) == (
        "Help.",
        "Is it on?",
        ["look", "note"],
    )
    assert (request.turns, request.tool_outputs) == (1, {"c1": "on"})


REFUSED = [
    pytest.param({"colour": "red"}, "Unknown parameter: 'colour'", id="unknown-parameter"),
    pytest.param({"temperature": "warm"}, "'temperature'", id="wrong-type"),
    pytest.param({"messages": []}, "empty array", id="no-messages"),
    pytest.param({"messages": [{"content": "x"}]}, "Missing required parameter: 'messages[0].role'", id="no-role"),
    pytest.param({"messages": [{"role": "robot", "content": "x"}]}, "Supported values", id="unknown-role"),
    pytest.param({"messages": [USER, {**CALLED, "mood": 1}]}, "messages[1].mood", id="unknown-field"),
    pytest.param({"messages": [USER, {**CALLED, "reasoning_content": "hm"}]}, "reasoning_content", id="foreign-field"),
    pytest.param({"messages": [USER, CALLED]}, "did not have response messages: c1", id="a-call-without-output"),
    pytest.param({"messages": [USER, CALLED, USER]}, "did not have response messages: c1", id="output-too-late"),
    pytest.param({"messages": [USER, ANSWERED]}, "preceeding message with 'tool_calls'", id="an-output-without-call"),
    pytest.param({"messages": [USER, CALLED, ANSWERED, ANSWERED]}, "preceeding message", id="an-output-twice"),
    pytest.param({"messages": [{"role": "assistant", "content": None}]}, "expected a string, got null", id="null"),
    pytest.param({"messages": [{**CALLED, "tool_calls": []}]}, "empty array", id="no-calls"),
    pytest.param(
        {"messages": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]},
        "content[0]",
        id="other-part",
    ),
    pytest.param({"tools": []}, "empty array", id="no-tools"),
    pytest.param({"tools": [{"type": "web_search"}]}, "tools[0].type", id="hosted-tool"),
    pytest.param({"tools": [{"type": "function", "name": "look"}]}, "tools[0].function", id="flat-tool"),
    pytest.param(
        {"tools": [{"type": "function", "function": {"name": "look", "strict": True, "parameters": OPEN}}]},
        "additionalProperties",
        id="open-schema",
    ),
    pytest.param({"tool_choice": "required"}, "only allowed when 'tools' are specified", id="choice-without-tools"),
    pytest.param({"parallel_tool_calls": True}, "only allowed when 'tools'", id="parallel-without-tools"),
    pytest.param(
        {"tools": [LOOK], "tool_choice": {"type": "function", "function": {"name": "wipe"}}}, "'wipe'", id="choice"
    ),
    pytest.param({"stream_options": {"include_usage": True}}, "only allowed when 'stream'", id="stream-options"),
    pytest.param({"response_format": {"type": "json_object"}}, "the word 'json'", id="json-object"),
    pytest.param(
        {"response_format": {"type": "json_schema", "json_schema": {"name": "r", "strict": True, "schema": OPEN}}},
        "response_format 'r'",
        id="open-format",
    ),
    pytest.param({"n": 2}, "one choice", id="choices"),
]


@pytest.mark.parametrize(("body", "said"), REFUSED)
async def test_what_the_api_refuses_is_refused(
    client: openai.AsyncOpenAI, server: ResponsesServer, body: dict[str, Any], said: str
) -> None:
    """A request that the real API would not take is a violation, and takes no step of the script."""
    with pytest.raises(openai.BadRequestError) as refused:
        await client.post("/chat/completions", cast_to=object, body={"model": "m", "messages": [USER], **body})
    assert said in str(refused.value)
    assert len(server.violations) == 1


WHOLE = Reply(
    reasoning("hm"), text("Let me see."), call("look", {"at": "fans"}), call("look"), usage=Usage(30, 20, 10, 5)
)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_reply_is_what_the_client_reads(streamed: bool) -> None:
    """The client's own types read the whole reply: words, reasoning, parallel calls and usage."""
    async with (
        ResponsesServer([WHOLE]) as server,
        openai.AsyncOpenAI(base_url=server.base_url, api_key="test") as client,
    ):
        if streamed:
            async with client.chat.completions.stream(
                model="m", messages=[{"role": "user", "content": "go"}], stream_options={"include_usage": True}
            ) as stream:
                completion: ChatCompletion = await stream.get_final_completion()
        else:
            completion = await create(client)
    [choice] = completion.choices
    assert (choice.message.content, choice.finish_reason) == ("Let me see.", "tool_calls")
    assert (choice.message.model_extra or {})["reasoning_content"] == "hm"
    calls = [(each.id, each.function.arguments) for each in choice.message.tool_calls or () if each.type == "function"]
    assert calls == [("call_1", '{"at":"fans"}'), ("call_2", "{}")]
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.total_tokens) == (30, 50)


@pytest.mark.parametrize(
    ("reply", "finished"),
    [
        pytest.param(Reply(text("Once"), status="incomplete"), "length", id="cut-off"),
        pytest.param(
            Reply(status="incomplete", incomplete_reason="content_filter"), "content_filter", id="content-filter"
        ),
        pytest.param(Reply(refusal("I will not.")), "stop", id="refusal"),
    ],
)
async def test_endings_have_their_names(reply: Reply, finished: str) -> None:
    """A reply that ends otherwise says so as the API does."""
    async with (
        ResponsesServer([reply]) as server,
        openai.AsyncOpenAI(base_url=server.base_url, api_key="test") as client,
    ):
        completion = await create(client)
    assert completion.choices[0].finish_reason == finished


async def test_reasoning_that_led_to_a_call_has_to_come_back() -> None:
    """As DeepSeek has it: within a turn a call goes back with the reasoning that led to it, and not changed."""
    async with (
        ResponsesServer(Script.of(lambda request: Reply(reasoning("hm"), call("look", call_id="c1")))) as server,
        openai.AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0) as client,
    ):
        await create(client, tools=[LOOK])
        back = {**CALLED, "reasoning_content": "hm"}
        await create(client, tools=[LOOK], messages=[USER, back, ANSWERED])
        await create(client, tools=[LOOK], messages=[USER, CALLED, ANSWERED, USER])
        for wrong in (CALLED, {**CALLED, "reasoning_content": "other"}):
            with pytest.raises(openai.BadRequestError, match="Missing `reasoning_content`"):
                await create(client, tools=[LOOK], messages=[USER, wrong, ANSWERED])


@pytest.mark.parametrize(
    ("step", "said"),
    [
        pytest.param(Reply(web_search_item("x")), "no output of kind 'hosted'", id="hosted"),
        pytest.param(Reply(status="failed"), "a completion does not fail", id="failed"),
        pytest.param(Pause("gate", Reply(web_search_item("x"))), "no output of kind", id="paused"),
        pytest.param(Compacted(), "needs a Reply", id="compacted"),
    ],
)
async def test_a_script_that_this_api_cannot_play_is_named(step: Any, said: str) -> None:
    """A step that Chat Completions has nothing for is a violation that says so."""
    async with (
        ResponsesServer([step]) as server,
        openai.AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0) as client,
    ):
        with pytest.raises(openai.BadRequestError, match=said):
            await create(client)


async def test_failures_come_as_the_api_sends_them() -> None:
    """A failure has a status, or comes inside a stream; a connection can be cut in the middle."""
    steps: list[Step] = [
        Fail(429, retry_after=3),
        Fail(500, inside="event"),
        Drop(after_bytes=60, then=Reply(text("x" * 400))),
    ]
    async with (
        ResponsesServer(steps) as server,
        openai.AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0) as client,
    ):
        with pytest.raises(openai.RateLimitError) as busy:
            await create(client)
        assert busy.value.response.headers["retry-after"] == "3"
        with pytest.raises(openai.APIError, match="had an error"):
            _ = [chunk async for chunk in await create(client, stream=True)]
        with pytest.raises(Exception, match=r"(?i)connection|incomplete|peer"):
            await create(client)


async def test_a_paused_stream_goes_on_when_its_gate_is_opened() -> None:
    """The first piece comes, and the next one once the test says so."""
    said: list[str] = []
    async with (
        ResponsesServer([Pause("gate", Reply(text("one two three four five six")), after=1)]) as server,
        openai.AsyncOpenAI(base_url=server.base_url, api_key="test") as client,
    ):
        async for chunk in await create(client, stream=True):
            if chunk.choices and chunk.choices[0].delta.content:
                said.append(chunk.choices[0].delta.content)
                server.open("gate")
        await server.wait_for_end(1)
    assert "".join(said) == "one two three four five six"
