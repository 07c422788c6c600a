"""What `ResponsesServer` answers beside responses: models, files, input items, token counts; and what it refuses for
what a request names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from handfast.testing import Fail, Reply, ResponsesServer, Script, call, reasoning, text
from handfast.testing.script import Step

PIXEL = "data:image/png;base64,iVBORw0KGgo="


@asynccontextmanager
async def connected(*steps: Step, dialect: str = "openai") -> AsyncIterator[tuple[ResponsesServer, AsyncOpenAI]]:
    script = Script(steps) if steps else Script.of(lambda request: Reply(text("ok")))
    async with (
        ResponsesServer(script, dialect=dialect) as server,
        AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0, timeout=30) as client,
    ):
        yield server, client


def message(*parts: dict[str, Any]) -> list[Any]:
    return [{"role": "user", "content": [{"type": "input_text", "text": "look"}, *parts]}]


@pytest.mark.parametrize("dialect", ["openai", "ollama", "openrouter"])
async def test_models_are_listed(dialect: str) -> None:
    """Any model is there; those that were asked are in the list."""
    async with connected(dialect=dialect) as (server, client):
        await client.responses.create(model="gpt-5.6", input="x")
        assert {model.id async for model in client.models.list()} == {"scripted", "gpt-5.6"}
        assert (await client.models.retrieve("another")).id == "another"
        assert server.violations == []


async def test_input_items_of_a_stored_response() -> None:
    """They are listed as the API keeps them: with ids, messages in parts, the newest first, in pages."""
    async with connected(Reply(call("look", call_id="c1")), Reply(text("ok"))) as (_, client):
        first = await client.responses.create(model="m", input="go", store=True)
        output: Any = {"type": "function_call_output", "call_id": "c1", "output": "fine"}
        second = await client.responses.create(model="m", input=[output], previous_response_id=first.id, store=True)
        page = await client.responses.input_items.list(second.id, limit=1)
        items = [item async for item in client.responses.input_items.list(second.id, limit=1, order="asc")]
        with pytest.raises(openai.NotFoundError):
            await client.responses.input_items.list("resp_gone")
    assert (len(page.data), page.has_more, page.data[0].type) == (1, True, "function_call_output")
    assert [item.type for item in items] == ["message", "function_call", "function_call_output"]
    assert items[0].to_dict()["content"] == [{"type": "input_text", "text": "go"}]
    assert all(item.id for item in items)


async def test_tokens_are_counted_without_a_step_of_the_script() -> None:
    """The count is that of the usage; a request that would be refused is refused here too."""
    async with connected(Reply(text("ok"))) as (_, client):
        counted = await client.responses.input_tokens.count(model="m", input="hello", instructions="Help.")
        reply = await client.responses.create(model="m", input="hello", instructions="Help.")
        with pytest.raises(openai.BadRequestError, match="No tool output found"):
            await client.responses.input_tokens.count(
                model="m", input=[{"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}]
            )
    assert reply.usage is not None
    assert counted.input_tokens == reply.usage.input_tokens


async def test_a_file_is_there_once_it_was_uploaded() -> None:
    """Parts of messages and outputs may name it by its id until it is deleted."""
    async with connected() as (server, client):
        made = await client.files.create(file=("a.pdf", b"%PDF-1"), purpose="user_data")
        assert (made.filename, made.bytes, made.purpose) == ("a.pdf", 6, "user_data")
        named = message({"type": "input_file", "file_id": made.id}, {"type": "input_image", "file_id": made.id})
        await client.responses.create(model="m", input=named)
        assert [file.id async for file in client.files.list()] == [made.id]
        assert (await client.files.retrieve(made.id)).id == made.id
        await client.files.delete(made.id)
        with pytest.raises(openai.BadRequestError, match=f"No such File object: {made.id}") as refused:
            await client.responses.create(model="m", input=named)
        assert refused.value.param == "input[0].content[1].file_id"
        with pytest.raises(openai.NotFoundError):
            await client.files.retrieve(made.id)
        server.add_file("file-of-the-test")
        await client.responses.create(model="m", input=message({"type": "input_file", "file_id": "file-of-the-test"}))


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        pytest.param({"type": "input_image"}, "Missing required parameter: '{}.image_url'", id="no-image"),
        pytest.param({"type": "input_image", "image_url": None}, "Missing required", id="null-image"),
        pytest.param({"type": "input_image", "image_url": ""}, "empty string", id="empty-image"),
        pytest.param({"type": "input_image", "image_url": "cat.png"}, "Expected a valid URL", id="image-of-no-address"),
        pytest.param({"type": "input_image", "image_url": "file:///cat.png"}, "Expected a valid URL", id="image-here"),
        pytest.param({"type": "input_image", "image_url": "data:image/png,x"}, "Expected a valid URL", id="no-base64"),
        pytest.param({"type": "input_image", "file_id": "file-unknown"}, "No such File object", id="unknown-image"),
        pytest.param({"type": "input_file"}, "Missing required parameter: '{}.file_data'", id="no-file"),
        pytest.param({"type": "input_file", "filename": "a.pdf"}, "Missing required", id="name-alone"),
        pytest.param({"type": "input_file", "file_data": "JVBERi0="}, "data URL", id="bare-data"),
        pytest.param({"type": "input_file", "file_url": "a.pdf"}, "Expected a valid URL", id="file-of-no-address"),
        pytest.param({"type": "input_file", "file_id": "file-unknown"}, "No such File object", id="unknown-file"),
    ],
)
@pytest.mark.parametrize("place", ["message", "output"])
async def test_an_image_or_file_has_to_be_somewhere(part: dict[str, Any], problem: str, place: str) -> None:
    """In a message as in a tool's output, the refusal names the part."""
    asked: Any = message(part)
    path = "input[0].content[1]"
    if place == "output":
        called = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
        asked = [called, {"type": "function_call_output", "call_id": "c1", "output": [part]}]
        path = "input[1].output[0]"
    async with connected() as (_, client):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(model="m", input=asked)
    assert problem.format(path) in refused.value.message
    assert str(refused.value.param).startswith(path)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_image", "image_url": PIXEL, "detail": "auto"},
        {"type": "input_image", "image_url": "https://images.example/cat.png?size=2"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"},
        {"type": "input_file", "file_url": "http://files.example:8080/a.pdf"},
    ],
)
async def test_an_image_or_file_that_is_somewhere_is_taken(part: dict[str, Any]) -> None:
    """By address or in base64."""
    async with connected() as (_, client):
        await client.responses.create(model="m", input=message(part))


async def test_a_conversation_keeps_messages_in_parts() -> None:
    """Whoever reads its items finds parts, also where they were given as plain strings."""
    given: list[Any] = [{"role": "user", "content": "go"}, {"role": "assistant", "content": "Where?"}]
    async with connected() as (_, client):
        made = await client.conversations.create(items=given)
        await client.responses.create(model="m", input="there", conversation=made.id)
        items = [item.to_dict() async for item in client.conversations.items.list(made.id, order="asc")]
    said: dict[str, Any] = {"annotations": [], "logprobs": []}
    assert [item["content"] for item in items] == [
        [{"type": "input_text", "text": "go"}],
        [{"type": "output_text", "text": "Where?", **said}],
        [{"type": "input_text", "text": "there"}],
        [{"type": "output_text", "text": "ok", **said}],
    ]
    assert {item["status"] for item in items} == {"completed"}


@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        pytest.param(Fail(429), "requests", id="too-many"),
        pytest.param(Fail(429, code="insufficient_quota"), "insufficient_quota", id="unpaid"),
        pytest.param(Fail(400), "invalid_request_error", id="refused"),
        pytest.param(Fail(503), "server_error", id="away"),
    ],
)
async def test_a_failure_has_the_type_of_the_real_one(fail: Fail, kind: str) -> None:
    """The type of a 429 says which limit it was."""
    async with connected(fail) as (_, client):
        with pytest.raises(openai.APIStatusError) as failed:
            await client.responses.create(model="m", input="x")
    assert failed.value.type == kind


async def test_encrypted_reasoning_comes_where_it_is_asked_for() -> None:
    """Without `include` there is none, and what has none and is not stored cannot be sent back."""
    async with connected(Reply(reasoning("a"), text("b"))) as (_, client):
        reply = await client.responses.create(model="m", input="x", store=False)
        thought = reply.output[0].to_dict()
        assert thought.get("encrypted_content") is None
        back: Any = [item.to_dict() for item in reply.output]
        with pytest.raises(openai.NotFoundError, match="not found"):
            await client.responses.create(model="m", input=[*back, {"role": "user", "content": "y"}])


async def test_a_prompt_template_needs_no_input() -> None:
    """It names the model, and says what is asked."""
    async with connected() as (_, client):
        reply = await client.responses.create(prompt={"id": "pmpt_1", "variables": {"city": "Bern"}})
        assert reply.output_text == "ok"
