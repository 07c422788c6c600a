"""One attempt at a background response: what it remembers, follows and gives back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from handfast.models.port import Background, ModelCallError, ModelDelta, ModelRequest, StillUnderwayError
from handfast.models.responses import ResponsesModel
from handfast.testing import Fail, Gate, Reply, ResponsesServer, text
from handfast.testing.script import Step
from support.provider import provider

LONG = "Seventeen words, so that the scripted server cuts them into a few pieces of text that follow each other."


class Attempt:
    """One attempt, and what it has told."""

    def __init__(self, client: openai.AsyncOpenAI, resume: str | None = None, patience_s: float = 30.0) -> None:
        self.begun = asyncio.Event()
        self.remembered: list[str | None] = []
        self.pieces: list[str] = []
        self.withdrawn = False
        self._model = ResponsesModel(client)
        self._background = Background(
            remember=self._remember, withdrawn=lambda: self.withdrawn, patience_s=patience_s, resume=resume
        )

    async def _remember(self, response: str | None) -> None:
        self.remembered.append(response)
        self.begun.set()

    async def answer(self, *, stream: bool) -> str:
        """The text of the reply."""

        def wrote(delta: ModelDelta) -> None:
            self.pieces.append(delta.text)

        request = ModelRequest(
            model="m",
            instructions="",
            items=[{"role": "user", "content": "go"}],
            background=self._background,
            on_delta=wrote if stream else None,
        )
        answer = await self._model.answer(request)
        said: Any = answer.items[0]
        return str(said["content"][0]["text"])


@asynccontextmanager
async def serving(*steps: Step) -> AsyncIterator[tuple[ResponsesServer, openai.AsyncOpenAI]]:
    async with (
        ResponsesServer(steps) as server,
        openai.AsyncOpenAI(base_url=server.base_url, api_key="test") as client,
    ):
        yield server, client


async def test_a_stream_that_breaks_goes_on_after_the_last_event() -> None:
    """No piece is lost or told twice, and nothing is asked for twice."""
    async with serving(Gate("made", Reply(text(LONG)))) as (server, client):
        attempt = Attempt(client)
        answering = asyncio.create_task(attempt.answer(stream=True))
        async with asyncio.timeout(20):
            await attempt.begun.wait()
        server.hang_up()
        while server.requests[-1].query.get("stream") != "true":
            await server.wait_for_request(len(server.requests) + 1)
        assert server.requests[-1].query["starting_after"].isdecimal()
        server.open("made")
        async with asyncio.timeout(20):
            assert await answering == LONG
        assert "".join(attempt.pieces) == LONG
        assert len(server.created) == 1
        assert server.violations == []


@pytest.mark.parametrize("stream", [False, True])
async def test_what_takes_too_long_is_picked_up(stream: bool) -> None:
    """An attempt that can wait no longer names the response; the next one gets the same, whole."""
    async with serving(Gate("made", Reply(text(LONG)))) as (server, client):
        with pytest.raises(StillUnderwayError) as still:
            await Attempt(client, patience_s=0.3).answer(stream=stream)
        server.open("made")
        attempt = Attempt(client, resume=still.value.response)
        assert await attempt.answer(stream=stream) == LONG
        assert "".join(attempt.pieces) == (LONG if stream else "")
        assert attempt.remembered == []
        assert len(server.created) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failed_response_is_not_remembered(stream: bool) -> None:
    """What failed is not picked up again."""
    async with serving(Gate("made", Fail(500, "broken"))) as (server, client):
        server.open("made")
        attempt = Attempt(client)
        with pytest.raises(ModelCallError, match="broken") as failed:
            await attempt.answer(stream=stream)
        assert failed.value.retryable
        assert attempt.remembered[1:] == [None]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_unknown_response_is_said_to_be_forgotten(stream: bool) -> None:
    """It is for the caller to ask again."""
    async with serving() as (_, client):
        with pytest.raises(ModelCallError) as forgotten:
            await Attempt(client, resume="resp_gone").answer(stream=stream)
        assert forgotten.value.kind == "ResponseForgotten"


async def test_what_was_not_begun_as_a_stream_is_looked_up() -> None:
    """A run may be streamed by a later attempt only: its reply comes whole."""
    async with serving(Reply(text(LONG))) as (_, client):
        begun = await client.responses.create(model="m", input="go", background=True)
        attempt = Attempt(client, resume=begun.id)
        assert await attempt.answer(stream=True) == LONG
        assert attempt.pieces == []


@pytest.mark.parametrize(
    ("body", "media", "kind", "words"),
    [
        pytest.param(b"", "text/event-stream", "ModelUnavailable", "the stream ended", id="nothing"),
        pytest.param(b'data: {"type": "resp', "text/event-stream", "ModelUnavailable", "the stream ended", id="cut"),
        pytest.param(
            b'data: {"type": "error", "code": "server_error", "message": "sorry"}\n\n',
            "text/event-stream",
            "ModelUnavailable",
            "sorry",
            id="error-before-it-began",
        ),
        pytest.param(b"data: {nonsense\n\n", "text/event-stream", "ModelReplyInvalid", "not JSON", id="no-json"),
        pytest.param(b"<html>", "text/html", "ModelReplyInvalid", "not JSON", id="no-stream-at-all"),
    ],
)
async def test_a_stream_that_ends_before_the_response_has_an_id_can_be_asked_for_again(
    body: bytes, media: str, kind: str, words: str
) -> None:
    """There is nothing to look up: the call ends with a type, and may be made again."""
    async with provider(body, media) as base_url, openai.AsyncOpenAI(base_url=base_url, api_key="test") as client:
        attempt = Attempt(client)
        with pytest.raises(ModelCallError, match=words) as failed:
            await attempt.answer(stream=True)
    assert (failed.value.kind, failed.value.retryable) == (kind, True)
    assert attempt.remembered == []


async def test_a_proxy_that_cannot_stream_has_begun_it_nevertheless() -> None:
    """A plain JSON body names the response, which is looked up from then on."""
    body = b'{"id": "resp_1", "status": "completed", "output": [{"type": "message", "content": [{"text": "done"}]}]}'
    async with (
        provider(body, "application/json") as base_url,
        openai.AsyncOpenAI(base_url=base_url, api_key="test") as client,
    ):
        attempt = Attempt(client)
        async with asyncio.timeout(20):
            assert await attempt.answer(stream=True) == "done"
    assert attempt.remembered == ["resp_1"]


@pytest.mark.parametrize("withdrawn", [True, False])
async def test_only_a_withdrawn_call_cancels_its_response(withdrawn: bool) -> None:
    """A worker that closes leaves the response to the next one."""
    async with serving(Gate("made", Reply(text(LONG)))) as (server, client):
        attempt = Attempt(client)
        answering = asyncio.create_task(attempt.answer(stream=True))
        async with asyncio.timeout(20):
            await attempt.begun.wait()
        attempt.withdrawn = withdrawn
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering
        assert [each.path.endswith("/cancel") for each in server.requests] == [False, True][: 1 + withdrawn]
