"""A reply that comes as a stream is the reply that would have come whole, and every way to break off is typed."""

from __future__ import annotations

import asyncio

import openai
import pytest

from handfast.models.port import ModelAnswer, ModelCallError, ModelDelta, ModelRequest, OnDelta
from handfast.models.responses import ResponsesModel
from handfast.models.streaming import EventDecoder
from handfast.testing import Drop, Pause, Reply, ResponsesServer, call, reasoning, refusal, text
from support.provider import provider

LONG = "Seventeen words, so that the scripted server cuts them into a few pieces of text that follow each other."
RICH = Reply(
    reasoning("First look, then decide what is to be done about it."), text(LONG), call("look", {"at": "fans"}, "c1")
)


async def answer(base_url: str, on_delta: OnDelta | None) -> ModelAnswer:
    """Ask a model."""
    message = {"role": "user", "content": "go"}
    tool = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}, "strict": False}
    request = ModelRequest(model="m", instructions="", items=[message], tools=[tool], on_delta=on_delta)
    async with openai.AsyncOpenAI(base_url=base_url, api_key="test") as client:
        return await ResponsesModel(client).answer(request)


async def test_a_stream_gives_the_answer_that_would_have_come_whole() -> None:
    """Items, usage and id are equal, and the pieces add up to what the items hold."""
    deltas: list[ModelDelta] = []
    async with ResponsesServer([RICH]) as whole, ResponsesServer([RICH]) as pieces:
        expected = await answer(whole.base_url, None)
        streamed = await answer(pieces.base_url, deltas.append)
        assert pieces.requests[0].body["stream"] is True
        assert (whole.violations, pieces.violations) == ([], [])

    def said(kind: str) -> str:
        return "".join(delta.text for delta in deltas if delta.kind == kind)

    assert [item["type"] for item in streamed.items] == [item["type"] for item in expected.items]
    assert (streamed.usage, streamed.incomplete) == (expected.usage, expected.incomplete)
    assert said("text") == LONG
    assert said("reasoning") == "First look, then decide what is to be done about it."
    assert said("arguments") == '{"at":"fans"}'
    assert {delta.call_id for delta in deltas} == {None, "c1"}
    assert [delta.item for delta in deltas] == sorted(delta.item for delta in deltas)
    assert len(deltas) > 8


async def test_a_refusal_is_told_as_text() -> None:
    """Whoever watches sees that the model declines."""
    deltas: list[ModelDelta] = []
    async with ResponsesServer([Reply(refusal("I cannot help with that."))]) as server:
        await answer(server.base_url, deltas.append)
    assert "".join(delta.text for delta in deltas) == "I cannot help with that."


@pytest.mark.parametrize(
    ("step", "kind", "retryable", "words"),
    [
        pytest.param(Reply(text("x"), status="failed"), "ModelReplyInvalid", True, "failed", id="failed-and-paid"),
        pytest.param(
            Pause("open", Reply(text(LONG)), error="server_error"), "ModelUnavailable", True, "server_error", id="error"
        ),
        pytest.param(
            Pause("open", Reply(text(LONG)), error="invalid_prompt"), "ModelRefused", False, "invalid_prompt", id="no"
        ),
        pytest.param(Drop(2000, Reply(text(LONG))), "ModelUnavailable", True, "broke off", id="cut"),
    ],
)
async def test_a_stream_that_fails_says_whether_a_retry_can_help(
    step: Reply | Pause | Drop, kind: str, retryable: bool, words: str
) -> None:
    """Each way is a typed failure, as without a stream."""
    async with ResponsesServer([step]) as server:
        server.open("open")
        with pytest.raises(ModelCallError, match=words) as failed:
            await answer(server.base_url, lambda delta: None)
    assert (failed.value.kind, failed.value.retryable) == (kind, retryable)


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        pytest.param(b"data: {nonsense\n\n", "ModelReplyInvalid", "not JSON", id="no-json"),
        pytest.param(b"data: [1]\n\n", "ModelReplyInvalid", "no object", id="no-object"),
        pytest.param(b'data: {"type": "response.completed"}\n\n', "ModelReplyInvalid", "no output", id="no-response"),
        pytest.param(b"", "ModelUnavailable", "the stream ended", id="nothing"),
        pytest.param(b"data: [DONE]\n\n", "ModelUnavailable", "the stream ended", id="done-too-early"),
        pytest.param(
            b'data: {"error": {"code": "server_error", "message": "sorry"}}\n\n', "ModelUnavailable", "sorry", id="old"
        ),
        pytest.param(
            b'data: {"type": "response.output_text.delta", "output_index": 0, "delta": 7}\n\n',
            "ModelUnavailable",
            "the stream ended",
            id="delta-is-no-text",
        ),
    ],
)
async def test_a_stream_that_cannot_be_read_is_a_typed_failure(body: bytes, kind: str, words: str) -> None:
    """Whatever a provider or a proxy sends, the call ends with a type, and may be made again."""
    async with provider(body) as base_url:
        with pytest.raises(ModelCallError, match=words) as failed:
            await answer(base_url, lambda delta: None)
    assert (failed.value.kind, failed.value.retryable) == (kind, True)


async def test_a_proxy_that_cannot_stream_is_understood() -> None:
    """A plain JSON body is an answer too."""
    body = b'{"id": "r", "status": "completed", "output": [{"type": "x"}]}'
    async with provider(body, "application/json") as base_url:
        assert (await answer(base_url, lambda delta: None)).items == [{"type": "x"}]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events_are_found_however_the_bytes_are_cut(size: int) -> None:
    """Chunks end anywhere, within a character or a line ending too."""
    stream = (
        'event: a\r\ndata: {"ü": 1}\r\n\r\n: a comment\n\ndata:two\ndata: lines\n\nid: 7\n\ndata: unfinished'.encode()
    )
    decoder = EventDecoder()
    found = [event for at in range(0, len(stream), size) for event in decoder.feed(stream[at : at + size])]
    assert found == [('{"ü": 1}'.encode(), "a"), (b"two\nlines", "")]


async def test_a_call_that_is_cancelled_closes_its_stream() -> None:
    """The server sees the client leave in the middle, at once."""
    began = asyncio.Event()
    async with ResponsesServer([Pause("never", Reply(text(LONG)))]) as server:
        asking = asyncio.create_task(answer(server.base_url, lambda delta: began.set()))
        async with asyncio.timeout(10):
            await began.wait()
        asking.cancel()
        await server.wait_for_disconnect(1, timeout=5)
        with pytest.raises(asyncio.CancelledError):
            await asking
