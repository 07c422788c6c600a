"""What a user's test can rely on when the real openai client talks to `ResponsesServer`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFailedEvent,
    ResponseFunctionToolCall,
    ResponseIncompleteEvent,
    ResponseOutputMessage,
    ResponseReasoningItem,
    ResponseStreamEvent,
)

from handfast.testing.responses_server import ResponsesServer
from handfast.testing.script import (
    Delay,
    Drop,
    Fail,
    Gate,
    Hang,
    Reply,
    Script,
    Step,
    Usage,
    call,
    raw,
    reasoning,
    refusal,
    text,
)


@asynccontextmanager
async def connected(*steps: Step) -> AsyncIterator[tuple[ResponsesServer, AsyncOpenAI]]:
    async with (
        ResponsesServer(Script(steps)) as server,
        AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0, timeout=30) as client,
    ):
        yield server, client


ENCRYPTED = ["reasoning.encrypted_content"]


async def ask(client: AsyncOpenAI, **parameters: Any) -> Response:
    response = await client.responses.create(**({"model": "gpt-5.6", "input": "hello"} | parameters))
    assert isinstance(response, Response)
    return response


async def ask_streaming(client: AsyncOpenAI) -> list[ResponseStreamEvent]:
    return [event async for event in await client.responses.create(model="m", input="x", stream=True)]


async def test_a_text_reply_parses_into_a_response() -> None:
    """The real client reads the scripted text, the status and the usage as from OpenAI."""
    async with connected(Reply(text("Done."), usage=Usage(10, 5, cached_tokens=4, reasoning_tokens=2))) as (
        _,
        client,
    ):
        response = await ask(client)
    assert (response.output_text, response.status, response.model) == ("Done.", "completed", "gpt-5.6")
    assert response.usage is not None
    assert (response.usage.total_tokens, response.usage.input_tokens_details.cached_tokens) == (15, 4)
    assert response.usage.output_tokens_details.reasoning_tokens == 2
    Response.model_validate(response.model_dump())


async def test_all_outputs_arrive_in_order() -> None:
    """Reasoning, text, calls and refusals arrive in the script's order, with ids of their own."""
    reply = Reply(reasoning("thinking"), text("I will."), call("a", {"x": 1}), call("b", "{broken"), refusal("No."))
    async with connected(reply) as (_, client):
        response = await ask(client, include=ENCRYPTED)
    thought, said, first, second, declined = response.output
    assert isinstance(thought, ResponseReasoningItem)
    assert thought.encrypted_content
    assert isinstance(said, ResponseOutputMessage)
    assert isinstance(first, ResponseFunctionToolCall)
    assert isinstance(second, ResponseFunctionToolCall)
    assert (first.call_id, first.arguments) == ("call_1", '{"x":1}')
    assert (second.call_id, second.arguments) == ("call_2", "{broken")
    assert declined.type == "message"
    assert declined.content[0].type == "refusal"
    assert len({item.id for item in response.output}) == 5


@pytest.mark.parametrize(
    ("reply", "status", "reason"),
    [
        pytest.param(Reply(), "completed", None, id="empty"),
        pytest.param(Reply(text("cut"), status="incomplete"), "incomplete", "max_output_tokens", id="truncated"),
        pytest.param(
            Reply(status="incomplete", incomplete_reason="content_filter"),
            "incomplete",
            "content_filter",
            id="filtered",
        ),
        pytest.param(Reply(status="failed"), "failed", None, id="failed"),
    ],
)
async def test_unhappy_replies_keep_their_status(reply: Reply, status: str, reason: str | None) -> None:
    """Empty, incomplete and failed responses are told apart by status and reason, streamed or not."""
    async with connected(reply, reply) as (_, client):
        whole = await ask(client)
        events = await ask_streaming(client)
    last = events[-1]
    assert isinstance(last, ResponseCompletedEvent | ResponseIncompleteEvent | ResponseFailedEvent)
    assert last.type == f"response.{status}"
    for response in (whole, last.response):
        assert response.status == status
        assert (response.incomplete_details.reason if response.incomplete_details else None) == reason
        assert (response.error is not None) == (status == "failed")


async def test_malformed_output_is_sent_as_written() -> None:
    """What `raw` holds reaches the client unchanged: an empty and a repeated call id, an unknown type."""
    items: list[dict[str, object]] = [
        {"type": "function_call", "call_id": "", "name": "a", "arguments": ""},
        {"type": "function_call", "call_id": "", "name": "a", "arguments": ""},
        {"type": "surprise"},
    ]
    async with connected(Reply(*map(raw, items))) as (server, client):
        reply = await client.responses.with_raw_response.create(model="m", input="x")
    assert json.loads(reply.text)["output"] == items
    assert server.violations == []


async def test_a_stream_has_the_real_sequence_of_events() -> None:
    """Streaming yields numbered events: created, items with deltas, then the whole response."""
    long = "words " * 1000
    reply = Reply(reasoning("why"), text(long), call("run", {"x": "y" * 30}), refusal("no"))
    async with connected(reply) as (server, client):
        events = await ask_streaming(client)
    kinds = list(dict.fromkeys(event.type for event in events))
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.refusal.delta",
        "response.refusal.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == long
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == long
    assert server.requests[0].reply is not None
    assert server.requests[0].reply["id"] == last.response.id


async def test_the_clients_own_stream_helper_works() -> None:
    """`client.responses.stream` accumulates the events into the final response."""
    async with (
        connected(Reply(text("Hello there."), call("run", {"x": 1}))) as (_, client),
        client.responses.stream(model="m", input="x") as stream,
    ):
        final = await stream.get_final_response()
    assert final.output_text == "Hello there."


async def test_a_tool_loop_runs_to_its_end() -> None:
    """Items that the server sent are accepted back, with or without a stored response to go on from."""
    steps = [Reply(reasoning("hm"), call("run", {"x": 1}), call("run", {"x": 2})), Reply(text("Both done."))]
    async with connected(*steps, *steps) as (server, client):
        for store in (False, True):
            first = await ask(client, store=store, include=ENCRYPTED)
            outputs = [
                {"type": "function_call_output", "call_id": item.call_id, "output": "ok"}
                for item in first.output
                if item.type == "function_call"
            ]
            if store:
                second = await ask(client, previous_response_id=first.id, input=outputs)
            else:
                sent = [item.model_dump(exclude_none=True) for item in first.output]
                second = await ask(client, store=False, input=[{"role": "user", "content": "x"}, *sent, *outputs])
            assert second.output_text == "Both done."
    assert server.violations == []
    assert server.requests[3].tool_outputs == {"call_1": "ok", "call_2": "ok"}
    assert server.requests[3].turns == 1


async def test_stored_responses_can_be_fetched() -> None:
    """A response is stored unless `store` is false, and then `responses.retrieve` returns it."""
    async with connected(Reply(text("kept")), Reply(text("gone"))) as (_, client):
        kept = await ask(client)
        gone = await ask(client, store=False)
        assert (await client.responses.retrieve(kept.id)).output_text == "kept"
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(gone.id)


@pytest.mark.parametrize(
    ("fail", "error", "code"),
    [
        pytest.param(Fail(400, message="no", code="odd"), openai.BadRequestError, "odd", id="400"),
        pytest.param(Fail(401), openai.AuthenticationError, "invalid_api_key", id="401"),
        pytest.param(Fail(429, retry_after=1.5), openai.RateLimitError, "rate_limit_exceeded", id="429"),
        pytest.param(Fail(500), openai.InternalServerError, None, id="500"),
    ],
)
async def test_a_failure_raises_the_clients_error(
    fail: Fail, error: type[openai.APIStatusError], code: str | None
) -> None:
    """A scripted failure arrives as the client's own exception, and the next request gets the next step."""
    async with connected(fail, Reply(text("fine"))) as (server, client):
        with pytest.raises(error) as caught:
            await ask(client)
        assert caught.value.code == code
        assert caught.value.response.headers.get("retry-after") == ("1.5" if fail.retry_after else None)
        assert (await ask(client)).output_text == "fine"
    assert [request.state for request in server.requests] == ["failed", "answered"]
    assert server.violations == []


@pytest.mark.parametrize("after_bytes", [pytest.param(0, id="at-once"), pytest.param(40, id="in-the-body")])
@pytest.mark.parametrize("stream", [pytest.param(False, id="whole"), pytest.param(True, id="stream")])
async def test_a_dropped_connection_is_a_connection_error(after_bytes: int, stream: bool) -> None:
    """The client sees a hang-up, and a retry gets the next step."""
    async with connected(Drop(after_bytes), Reply(text("fine"))) as (server, client):
        with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)):
            await (ask_streaming(client) if stream else ask(client))
        assert (await ask(client)).output_text == "fine"
        assert (await server.wait_for_end(1)).state == "dropped"


async def test_a_hanging_reply_ends_when_the_client_leaves() -> None:
    """A client that gives up is noticed at once, however long the server would have hung."""
    async with connected(Hang()) as (server, client):
        asking = asyncio.create_task(ask(client))
        request = await server.wait_for_request(1)
        assert request.state == "open"
        asking.cancel()
        assert (await server.wait_for_disconnect(1)).state == "client_closed"
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_a_client_that_leaves_within_a_stream_is_noticed() -> None:
    """Closing a stream halfway ends the request as `client_closed`, and the server goes on."""
    async with connected(Reply(text("x" * 10_000_000)), Reply(text("fine"))) as (server, client):
        async with await client.responses.create(model="m", input="x", stream=True) as stream:
            assert (await anext(stream)).type == "response.created"
        assert (await server.wait_for_disconnect(1)).status == 200
        assert (await ask(client)).output_text == "fine"


async def test_a_hang_with_an_end_closes_the_connection() -> None:
    """`Hang(seconds)` gives up by itself, so that a client without a timeout goes on."""
    async with connected(Hang(0.01)) as (server, client):
        with pytest.raises(openai.APIConnectionError):
            await ask(client)
        assert (await server.wait_for_end(1)).state == "dropped"


async def test_a_disconnect_that_cannot_come_is_an_error() -> None:
    """Waiting for the disconnect of a request that was answered fails at once instead of timing out."""
    async with connected(Reply(text("x"))) as (server, client):
        await ask(client)
        with pytest.raises(AssertionError, match="ended as answered"):
            await server.wait_for_disconnect(1)


async def test_a_request_that_never_comes_is_a_timeout() -> None:
    """Waiting for a request has an end, and its error says what did arrive."""
    async with connected() as (server, _):
        with pytest.raises(TimeoutError, match="request 1 did not arrive within 0 s; requests so far: none"):
            await server.wait_for_request(1, timeout=0)


async def test_a_gate_holds_replies_until_it_is_opened() -> None:
    """Two requests wait at one gate, both go on when the test opens it, and a later one passes."""
    step = Gate("go", then=Delay(0, then=Reply(text("through"))))
    async with connected(step, step, step) as (server, client):
        asking = [asyncio.create_task(ask(client)) for _ in range(2)]
        await server.wait_for_request(2)
        assert [request.state for request in server.requests] == ["open", "open"]
        server.open("go")
        assert [response.output_text for response in await asyncio.gather(*asking)] == ["through"] * 2
        assert (await ask(client)).output_text == "through"


async def test_closing_ends_what_is_open_and_starting_again_keeps_the_address() -> None:
    """A server that goes away breaks open requests; back at the same address, it goes on with the script."""
    async with connected(Hang(), Reply(text("back"))) as (server, client):
        address = server.base_url
        asking = asyncio.create_task(ask(client))
        await server.wait_for_request(1)
        await server.close()
        await server.close()
        with pytest.raises(openai.APIConnectionError):
            await asking
        assert server.requests[0].state == "server_closed"
        with pytest.raises(openai.APIConnectionError):
            await ask(client)
        await server.start()
        assert server.base_url == address
        assert (await ask(client)).output_text == "back"


async def test_a_taken_port_is_an_error() -> None:
    """Two servers on one port are refused by the second's start."""
    async with connected() as (server, _):
        port = int(server.base_url.split(":")[2].split("/")[0])
        with pytest.raises(OSError):
            await ResponsesServer([], port=port).start()


async def test_a_request_of_thirty_megabytes_is_read() -> None:
    """Requests up to 32 MB are answered; above that comes a 413."""
    messages = [{"role": "user", "content": "x" * 10_000_000} for _ in range(3)]
    async with connected(Reply(text("long"))) as (server, client):
        assert (await ask(client, input=messages)).output_text == "long"
        with pytest.raises(openai.APIStatusError) as caught:
            await ask(client, input=[*messages, *messages])
        assert caught.value.status_code == 413
    assert len(server.requests) == 1


async def test_one_connection_serves_many_requests() -> None:
    """Connections are kept alive, and a pipelined request is answered in its turn."""
    async with connected(*[Reply(text(str(number))) for number in range(3)]) as (server, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.base_url[17:-3]))
        body = b'{"model": "m", "input": "x"}'
        head = b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n"
        head += b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        writer.write((head + body) * 3)
        answers = []
        for _ in range(3):
            header = await reader.readuntil(b"\r\n\r\n")
            length = int(header.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            answers.append(json.loads(await reader.readexactly(length))["output"][0]["content"][0]["text"])
        writer.close()
        await writer.wait_closed()
    assert answers == ["0", "1", "2"]


async def test_nonsense_instead_of_http_does_no_harm() -> None:
    """A client that speaks no HTTP gets a 400, and others are served as before."""
    async with connected(Reply(text("fine"))) as (server, client):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.base_url[17:-3]))
        writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()
        await writer.wait_closed()
        assert (await ask(client)).output_text == "fine"


async def test_records_hold_what_was_sent_and_what_came_back() -> None:
    """Each request is recorded with headers, body, time, state and reply, for assertions."""
    async with connected(Reply(text("Done."))) as (server, client):
        response = await ask(client, instructions="Be brief.", input=[{"role": "user", "content": "clean up"}])
    (request,) = server.requests
    assert request.headers["authorization"] == "Bearer test"
    assert (request.number, request.state, request.status) == (1, "answered", 200)
    assert (request.model, request.instructions, request.first_user_text) == (
        "gpt-5.6",
        "Be brief.",
        "clean up",
    )
    assert request.reply is not None
    assert request.reply["id"] == response.id
    assert request.received_at.tzinfo is not None
