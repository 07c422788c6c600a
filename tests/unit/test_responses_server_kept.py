"""What the server keeps: background responses, conversations, and what it forgets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response, ResponseStreamEvent

from handfast.testing import Fail, Gate, Reply, ResponsesServer, call, text
from handfast.testing.script import Drop, Step

LOOK: Any = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}


@asynccontextmanager
async def connected(*steps: Step) -> AsyncIterator[tuple[ResponsesServer, AsyncOpenAI]]:
    async with (
        ResponsesServer(steps) as server,
        AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0, timeout=30) as client,
    ):
        yield server, client


async def ask(client: AsyncOpenAI, input: Any = "hello", **parameters: Any) -> Response:
    response = await client.responses.create(**({"model": "m", "input": input} | parameters))
    assert isinstance(response, Response)
    return response


async def ended(client: AsyncOpenAI, response_id: str) -> Response:
    """Wait until a background response has ended."""
    async with asyncio.timeout(20):
        while (response := await client.responses.retrieve(response_id)).status in ("queued", "in_progress"):
            pass
    return response


async def followed(client: AsyncOpenAI, response_id: str, after: int) -> list[ResponseStreamEvent]:
    return [event async for event in await client.responses.retrieve(response_id, stream=True, starting_after=after)]


async def test_a_background_response_goes_from_queued_to_completed() -> None:
    """It is answered at once, made while nobody waits, and read by its id; the script's gate holds its making."""
    async with connected(Gate("made", Reply(text("long")))) as (server, client):
        first = await ask(client, background=True)
        assert (first.status, first.background, first.output) == ("queued", True, [])
        assert (await client.responses.retrieve(first.id)).status == "in_progress"
        server.open("made")
        last = await ended(client, first.id)
        assert (last.status, last.output_text, last.id) == ("completed", "long", first.id)
        assert last.usage is not None
    assert len(server.created) == 1
    assert server.violations == []


async def test_a_background_stream_is_picked_up_where_it_was_left() -> None:
    """Each event has its number; ``starting_after`` yields the rest, live or after the end."""
    async with connected(Gate("made", Reply(text("words " * 20)))) as (server, client):
        stream = await client.responses.create(model="m", input="x", background=True, stream=True)
        first = await anext(aiter(stream))
        assert first.type == "response.created"
        assert first.response.status == "queued"
        await stream.close()
        following = asyncio.create_task(followed(client, first.response.id, 0))
        server.open("made")
        rest = await following
        assert [event.sequence_number for event in rest] == list(range(1, len(rest) + 1))
        assert [event.type for event in rest[:2]] == ["response.queued", "response.in_progress"]
        assert rest[-1].type == "response.completed"
        assert [event.type for event in await followed(client, first.response.id, len(rest) - 1)] == [rest[-1].type]


async def test_a_cancel_ends_a_background_response_and_may_be_repeated() -> None:
    """Cancelled twice it stays cancelled; one that was completed stays as it is; a foreground one cannot be."""
    async with connected(Gate("never", Reply()), Reply(text("done")), Reply()) as (_, client):
        first = await ask(client, background=True)
        assert (await client.responses.cancel(first.id)).status == "cancelled"
        assert (await client.responses.cancel(first.id)).status == "cancelled"
        second = await ended(client, (await ask(client, background=True)).id)
        assert (await client.responses.cancel(second.id)).status == "completed"
        with pytest.raises(openai.BadRequestError, match="synchronous"):
            await client.responses.cancel((await ask(client)).id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.cancel("resp_unknown")


async def test_a_background_response_may_fail() -> None:
    """A failure after a gate is the response's own; one without is the request's."""
    async with connected(Gate("open", Fail(500, "broken")), Fail(429)) as (server, client):
        server.open("open")
        response = await ended(client, (await ask(client, background=True)).id)
        assert (response.status, response.error and response.error.message) == ("failed", "broken")
        with pytest.raises(openai.RateLimitError):
            await ask(client, background=True)


async def test_only_a_background_stream_can_be_followed() -> None:
    """A stream of a foreground response, or of one that was not created as a stream, is refused."""
    async with connected(Reply(), Reply()) as (_, client):
        for response in (await ask(client), await ask(client, background=True)):
            with pytest.raises(openai.BadRequestError, match="was not created"):
                await followed(client, response.id, 0)


async def test_a_conversation_grows_by_what_a_response_reads_and_says() -> None:
    """The next request on it sends only what is new; items are listed in either order, in pages, by their ids."""
    async with connected(Reply(call("look", call_id="c1")), Reply(text("fine"))) as (server, client):
        conversation = await client.conversations.create(items=[{"role": "user", "content": "earlier"}])
        on = {"conversation": conversation.id, "tools": [LOOK]}
        first = await ask(client, "hello", **on)
        assert first.conversation is not None
        assert first.conversation.id == conversation.id
        answer: Any = {"type": "function_call_output", "call_id": "c1", "output": "warm"}
        last = await ask(client, [answer], **on)
        items = client.conversations.items
        newest = await items.list(conversation.id, limit=2)
        assert ([item.type for item in newest.data], newest.has_more) == (["message", "function_call_output"], True)
        assert newest.data[0].id == last.output[0].id
        listed = [item async for item in items.list(conversation.id, order="asc", limit=2)]
        kinds = ["message", "message", "function_call", "function_call_output", "message"]
        assert [item.type for item in listed] == kinds
        assert len({item.id for item in listed}) == 5
        after = await items.list(conversation.id, order="asc", after=str(first.output[0].id))
        assert [item.type for item in after.data] == kinds[3:]
    assert len(server.created[1].items) == 4
    assert server.violations == []


async def test_items_of_a_conversation_can_be_deleted() -> None:
    """An item that was deleted is gone for the next request, and a call without its output is refused as ever."""
    async with connected(Reply(call("look", call_id="c1")), Reply(text("again"))) as (server, client):
        conversation = await client.conversations.create()
        made = await ask(client, conversation=conversation.id, tools=[LOOK])
        with pytest.raises(openai.BadRequestError, match="No tool output found"):
            await ask(client, conversation=conversation.id)
        await client.conversations.items.delete(str(made.output[0].id), conversation_id=conversation.id)
        with pytest.raises(openai.NotFoundError):
            await client.conversations.items.retrieve(str(made.output[0].id), conversation_id=conversation.id)
        await ask(client, "more", conversation=conversation.id)
    assert [item["type"] for item in server.created[-1].items] == ["message", "message"]


async def test_a_conversation_takes_one_response_at_a_time() -> None:
    """While one is made, others are refused as locked; it is made to its end even if its client hangs up."""
    async with connected(Gate("made", Reply(text("late"))), Reply(text("next"))) as (server, client):
        conversation = await client.conversations.create()
        asking = asyncio.create_task(ask(client, "one", conversation=conversation.id))
        await server.wait_for_request(2)
        with pytest.raises(openai.BadRequestError) as locked:
            await ask(client, "two", conversation=conversation.id)
        assert locked.value.code == "conversation_locked"
        asking.cancel()
        await server.wait_for_disconnect(2)
        server.open("made")
        async with asyncio.timeout(20):
            while len((await client.conversations.items.list(conversation.id)).data) < 2:
                pass
        await ask(client, "three", conversation=conversation.id)
    assert [item.get("role") for item in server.created[-1].items] == ["user", "assistant", "user"]


async def test_a_lost_answer_is_in_the_conversation_all_the_same() -> None:
    """An answer that is cut off was made: what it read and said is kept."""
    async with connected(Drop(after_bytes=10, then=Reply(text("lost")))) as (_, client):
        conversation = await client.conversations.create()
        with pytest.raises(openai.APIConnectionError):
            await ask(client, conversation=conversation.id)
        assert len((await client.conversations.items.list(conversation.id)).data) == 2


async def test_what_is_forgotten_or_deleted_is_not_found() -> None:
    """A response that the provider forgot, or that was deleted, continues nothing; nor does a conversation."""
    async with connected(Reply(text("a")), Reply(text("b"))) as (server, client):
        first, second = await ask(client), await ask(client)
        server.forget(first.id)
        with pytest.raises(openai.BadRequestError) as gone:
            await ask(client, previous_response_id=first.id)
        assert (gone.value.code, gone.value.param) == ("previous_response_not_found", "previous_response_id")
        await client.responses.delete(second.id)
        for response in (first, second):
            with pytest.raises(openai.NotFoundError):
                await client.responses.retrieve(response.id)
        conversation = await client.conversations.create(metadata={"team": "it"})
        await client.conversations.delete(conversation.id)
        for lost in (client.conversations.retrieve(conversation.id), ask(client, conversation=conversation.id)):
            with pytest.raises(openai.NotFoundError):
                await lost
        with pytest.raises(KeyError):
            server.forget("resp_unknown")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        pytest.param("POST", "/conversations", {"items": [{"type": "x"}]}, 400, id="item"),
        pytest.param("POST", "/conversations", {"items": [{"role": "user", "content": "x"}] * 21}, 400, id="21-items"),
        pytest.param("POST", "/conversations", {"name": "x"}, 400, id="unknown-field"),
        pytest.param("GET", "/conversations/conv_x", None, 404, id="unknown-conversation"),
        pytest.param("GET", "/conversations/conv_x/items", None, 404, id="items-of-unknown"),
        pytest.param("PUT", "/conversations/conv_x", None, 405, id="method"),
        pytest.param("GET", "/responses/resp_x/other", None, 404, id="path"),
        pytest.param("POST", "/responses/resp_x/cancel", None, 404, id="cancel-unknown"),
    ],
)
async def test_what_the_api_would_refuse_is_refused(method: str, path: str, body: Any, status: int) -> None:
    """A malformed request about what is kept gets the API's status, and is a violation."""
    async with connected() as (server, _), httpx2.AsyncClient(headers={"authorization": "Bearer test"}) as plain:
        answer = await plain.request(method, f"{server.base_url}{path}", json=body)
        assert answer.status_code == status
        assert [violation.status for violation in server.violations] == [status]


@pytest.mark.parametrize("query", ["order=up", "limit=0", "limit=101", "limit=x", "after=msg_x"])
async def test_a_list_of_items_takes_only_what_the_api_takes(query: str) -> None:
    """Order, limit and place of a page are checked."""
    async with connected() as (server, client), httpx2.AsyncClient(headers={"authorization": "Bearer test"}) as plain:
        conversation = await client.conversations.create()
        answer = await plain.get(f"{server.base_url}/conversations/{conversation.id}/items?{query}")
        assert answer.status_code in (400, 404)
