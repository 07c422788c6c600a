"""A reply of the Responses API as server-sent events: the same answer, and pieces of it on the way."""

from __future__ import annotations

import asyncio
import codecs
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, NamedTuple, cast

import httpx2
import openai

from handfast.models.port import ModelAnswer, ModelCallError, ModelDelta, OnDelta
from handfast.models.provider_error import error_of
from handfast.models.reading import (
    COMPLETION_CAME,
    broken,
    is_completion,
    is_json,
    parsed,
    read_answer,
    read_response,
    wrong_api,
)
from handfast.models.streamed_items import StreamedItems
from handfast.models.vendor_errors import failure, failure_of
from handfast.payloads.json_profile import JsonObject, scrub
from handfast.payloads.usage import Usage

LEAVE_S: Final = 0.2
"""Longest wait for the end of a stream after the reply: one read to its end leaves its connection to the next call."""
STREAM: Final = "text/event-stream"
LAST: Final = frozenset(
    {"response.completed", "response.done", "response.incomplete", "response.failed", "response.cancelled"}
)
_LINES: Final = (b"data:", b"event:", b"id:", b"retry:", b":")
"""How a line of a stream may begin."""
ERRORS: Final = frozenset({"error", "response.error"})
_PIECES: Final[Mapping[str, Literal["text", "reasoning", "arguments"]]] = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "text",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.reasoning_text.delta": "reasoning",
    "response.function_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "arguments",
    "response.mcp_call_arguments.delta": "arguments",
}


@asynccontextmanager
async def opened(client: openai.AsyncOpenAI, path: str, body: Mapping[str, Any]) -> AsyncIterator[httpx2.Response]:
    """Open a stream: the raw response, unread, of whichever httpx the client was made with. Closed at the end.

    Raises:
        ModelCallError: The server did not answer, or what is done inside with its stream failed.
    """
    stream: bool = True
    try:
        response = cast(
            httpx2.Response,
            await client.post(path, cast_to=httpx2.Response, body={**body, "stream": True}, stream=stream),
        )
        try:
            yield response
        finally:
            await response.aclose()
    except (httpx2.RequestError, ssl.SSLError) as error:
        raise broke_off(type(error).__name__) from error
    except Exception as error:
        raise failure_of(error) from error


async def streamed(client: openai.AsyncOpenAI, body: Mapping[str, Any], on_delta: OnDelta) -> ModelAnswer:
    """Call the model once, and tell *on_delta* what it writes while it writes it.

    Being cancelled closes the connection.

    Raises:
        ModelCallError: As without a stream; one that ends before its reply does can be asked for again.
    """
    async with opened(client, "/responses", body) as response:
        if not is_stream(response.headers):  # of a proxy that cannot stream, or calls it otherwise
            return whole_answer(await response.aread(), response.headers, on_delta)
        return await _read(response, on_delta)


async def _read(response: httpx2.Response, on_delta: OnDelta) -> ModelAnswer:
    """Read a stream up to its reply, and what little follows."""
    events, reply = EventDecoder(), StreamedReply(on_delta)
    reply.headers = response.headers
    try:
        async with asyncio.timeout(None) as patience:
            async for chunk in response.aiter_bytes():
                for event in events.feed(chunk):
                    if reply.answer is None and reply.take(event):
                        patience.reschedule(asyncio.get_running_loop().time() + LEAVE_S)
    except (httpx2.RequestError, ssl.SSLError, TimeoutError):
        if reply.answer is None:
            raise
    return _ended(events, reply)


def is_stream(headers: Mapping[str, str]) -> bool:
    """Return whether an answer says that it is a stream."""
    return headers.get("content-type", "").lower().startswith(STREAM)


def whole_answer(content: bytes, headers: Mapping[str, str], on_delta: OnDelta | None = None) -> ModelAnswer:
    """Read the body of an answer that does not say that it is a stream; some are all the same.

    Raises:
        ModelCallError: It is no reply, or says that the provider failed.
    """
    if not content.removeprefix(codecs.BOM_UTF8).lstrip().startswith(_LINES):
        return read_answer(content, headers)
    events, reply = EventDecoder(), StreamedReply(on_delta or (lambda delta: None))
    reply.headers = headers
    for event in events.feed(content):
        if reply.take(event):
            break
    return _ended(events, reply)


def _ended(events: EventDecoder, reply: StreamedReply) -> ModelAnswer:
    """Return the reply of a stream that has ended; its last event may lack the empty line after it."""
    if reply.answer is None and (last := events.last()) is not None and is_json(last.data):
        reply.take(last)
    if reply.answer is None:
        raise broke_off("the stream ended")
    return reply.answer


class Event(NamedTuple):
    """A server-sent event: its data, and its name where it has one."""

    data: bytes
    name: str = ""


def broke_off(how: str) -> ModelCallError:
    return ModelCallError("ModelUnavailable", f"the model's reply broke off ({how})", retryable=True)


class EventDecoder:
    """Cuts a stream of bytes into its events. A line ends with LF or CR LF, as every provider has it."""

    def __init__(self) -> None:
        """Begin at the start of a stream."""
        self._begun = False
        self._line: list[bytes] = []
        self._name = ""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield each event that *chunk* completes."""
        if not self._begun and chunk:
            self._begun, chunk = True, chunk.removeprefix(codecs.BOM_UTF8)
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            line = b"".join((*self._line, end)).removesuffix(b"\r")
            self._line.clear()
            if not line:
                if self._data:
                    yield Event(b"\n".join(self._data), self._name)
                self._data.clear()
                self._name = ""
            elif line.startswith(b"data:"):
                self._data.append(line.removeprefix(b"data:").removeprefix(b" "))
            elif line.startswith(b"event:"):
                self._name = line.removeprefix(b"event:").strip().decode(errors="replace")
        if rest:
            self._line.append(rest)

    def last(self) -> Event | None:
        """Return the event that no empty line has ended."""
        return next(self.feed(b"\n\n"), None)


class StreamedReply:
    """The reply that the events of one stream have told so far.

    Attributes:
        answer: The whole reply, once the last event has brought it.
        headers: Of the stream: a failure within it may say there how long to wait.
    """

    def __init__(self, on_delta: OnDelta) -> None:
        self.answer: ModelAnswer | None = None
        self.headers: Mapping[str, str] = {}
        self._on_delta = on_delta
        self._items = StreamedItems()
        self._calls: dict[int, str] = {}

    def take(self, came: Event) -> bool:
        """Take over one event; whether it was the last that matters.

        Raises:
            ModelCallError: It cannot be read, or says that the provider failed.
        """
        if came.data == b"[DONE]":
            return self._done()
        event = parsed(came.data)
        if not isinstance(event, dict):
            raise broken("an event of the model's stream is no object", Usage(requests=1))
        kind = event.get("type") or came.name
        if not kind and is_completion(event):
            raise wrong_api(*COMPLETION_CAME)
        if kind in LAST:
            self.answer = read_response(self._closing(kind, event.get("response")), self.headers)
            return True
        if kind in ERRORS or (not kind and event.get("error")):
            raise failure(error_of(event, headers=self.headers))
        if not isinstance(kind, str) or (place := self._items.place(event)) is None:
            return False
        self._items.take(kind, event, place)
        if kind == "response.output_item.added":
            self._added(place, event.get("item"))
        elif kind in _PIECES and isinstance(event.get("delta"), str):
            piece = _PIECES[kind]
            call = self._calls.get(place) if piece == "arguments" else None
            self._on_delta(ModelDelta(piece, place, scrub(event["delta"]), call))
        return False

    def _done(self) -> bool:
        """Take the end of a stream that has no closing event: all that was begun is there."""
        if self.answer is None and self._items.are_whole:
            self.answer = read_response({"status": "completed", "output": self._items.whole()}, self.headers)
        return self.answer is not None

    def _closing(self, kind: str, response: object) -> JsonObject:
        """The response of a closing event, with what the events before it have told and it does not say again."""
        said = response if isinstance(response, dict) else {}
        status = said.get("status") if said.get("status") in ("failed", "incomplete") else kind.rpartition(".")[2]
        return {**said, "status": status, "output": self._items.completed(said.get("output"))}

    def _added(self, place: int, item: object) -> None:
        call = (item.get("call_id") or item.get("id")) if isinstance(item, dict) else None
        if isinstance(call, str):
            self._calls[place] = scrub(call)
