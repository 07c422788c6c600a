"""A response that is made in the background: begun once, and waited for by whoever knows its id."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import quote

import httpx2
import openai

from handfast.models.port import Background, ModelAnswer, ModelCallError, OnDelta, StillUnderwayError
from handfast.models.provider_error import text
from handfast.models.reading import broken, parsed, read_response
from handfast.models.streaming import Event, EventDecoder, StreamedReply, broke_off, is_stream
from handfast.models.vendor_errors import failure_of
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.usage import Usage

logger = logging.getLogger(__name__)

BEGUN: Final = frozenset({"queued", "in_progress"})
ENDED: Final = frozenset({"completed", "incomplete", "failed"})
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 3.0
CANCEL_S: Final = 5.0
"""Limit of time for the cancel at the provider: the activity is being ended meanwhile."""


class BackgroundResponse:
    """One attempt at a response that is made in the background."""

    def __init__(self, client: openai.AsyncOpenAI, background: Background) -> None:
        """Take the client, and what is known of a response that was begun before."""
        self._client = client
        self._background = background
        self._id = background.resume
        self._event: int | None = None
        self._failure: ModelCallError | None = None
        self._headers: Mapping[str, str] = {}
        self._deadline = asyncio.get_running_loop().time() + background.patience_s

    async def answer(self, body: Mapping[str, Any], on_delta: OnDelta | None) -> ModelAnswer:
        """Begin the response, or pick up the one that was begun, and wait for its end.

        Being cancelled leaves the response alone, unless the call was withdrawn: then it is cancelled too.

        Args:
            body: The request, where there is none to pick up.
            on_delta: Is told each piece as it is written. A response that is picked up is told from its start: what
                an attempt before this one has told is discarded.

        Raises:
            StillUnderwayError: It takes longer than this attempt can wait.
            ModelCallError: It failed; ``ResponseForgotten``, where it was begun before and is not known any more.
        """
        whole = {**body, "background": True, "store": True}
        try:
            return await (self._polled(whole) if on_delta is None else self._followed(whole, on_delta))
        except asyncio.CancelledError:
            if self._id is not None and self._background.withdrawn():
                await self._cancel(self._id)
            raise

    # --- looked up again and again ---

    async def _polled(self, body: Mapping[str, Any]) -> ModelAnswer:
        if self._id is None:
            response = await self._send("POST", "/responses", body)
            await self._begun(response)
        else:
            response = await self._retrieved()
        return await self._ended(response)

    async def _begun(self, response: JsonObject) -> None:
        found = response.get("id")
        if not isinstance(found, str) or not found:
            read_response(response, self._headers)  # it may say why
            raise broken("the model's reply has no id", Usage(requests=1))
        self._id = text(found)
        await self._background.remember(self._id)

    async def _ended(self, response: JsonObject) -> ModelAnswer:
        pause = FIRST_PAUSE_S
        while response.get("status") in BEGUN:
            await self._pause(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_S)
            response = await self._retrieved()
        status = response.get("status")
        if status == "failed":
            await self._background.remember(None)  # the next attempt begins anew
        if isinstance(status, str) and status not in ENDED:
            message = f"the response {self._id} ended at the provider as {text(status)}"
            raise ModelCallError("ModelRefused", message, retryable=False)
        return read_response(response, self._headers)

    async def _pause(self, seconds: float) -> None:
        assert self._id is not None
        if asyncio.get_running_loop().time() > self._deadline:
            raise StillUnderwayError(self._id)
        await asyncio.sleep(seconds)

    # --- followed while it is written ---

    async def _followed(self, body: Mapping[str, Any], on_delta: OnDelta) -> ModelAnswer:
        reply = StreamedReply(on_delta)
        while True:
            try:
                await self._read(body, reply)
            except (httpx2.RequestError, ssl.SSLError) as error:
                if self._id is None:
                    raise failure_of(error) from error
                logger.debug("following %s broke off: %s", self._id, type(error).__name__)
            except openai.BadRequestError as error:
                if self._id is None:
                    raise failure_of(error) from error
                return await self._polled(body)  # it was not begun as a stream
            except openai.NotFoundError as error:
                raise self._forgotten() if self._id is not None else failure_of(error) from error
            except Exception as error:
                raise failure_of(error) from error
            if reply.answer is not None:
                return reply.answer
            if self._id is None:
                raise self._failure or broke_off("the stream ended")  # nobody knows what to look for
            response = await self._retrieved()
            if response.get("status") not in BEGUN:
                return await self._ended(response)
            await self._pause(FIRST_PAUSE_S)

    async def _read(self, body: Mapping[str, Any], reply: StreamedReply) -> None:
        """Read events to their end, or for as long as this attempt can wait."""
        try:
            async with (
                asyncio.timeout_at(None if self._id is None else self._deadline) as patience,
                aclosing(self._events(body)) as events,
            ):
                async for event in events:
                    if await self._take(event, reply):
                        return
                    patience.reschedule(self._deadline)  # it has begun: until then nothing may be cut short
        except TimeoutError:
            return

    async def _take(self, came: Event, reply: StreamedReply) -> bool:
        """Take over one event; whether nothing of interest follows."""
        event = parsed(came.data) if came.data != b"[DONE]" else None
        if isinstance(event, dict):
            number, response = event.get("sequence_number"), event.get("response")
            self._event = number if isinstance(number, int) else self._event
            if self._id is None and isinstance(response, dict):
                await self._begun(response)
        reply.headers = self._headers
        try:
            return reply.take(came)
        except ModelCallError as error:
            logger.debug("following %s: %s", self._id, type(error).__name__)
            self._failure = error
            return True  # what became of it is looked up

    async def _events(self, body: Mapping[str, Any]) -> AsyncGenerator[Event, None]:
        """The events of a new response, or of the one that was begun, after the last event that came."""
        stream: bool = True
        if self._id is None:
            opened = await self._client.post(
                "/responses", cast_to=httpx2.Response, body={**body, "stream": True}, stream=stream
            )
        else:
            after = {} if self._event is None else {"starting_after": self._event}
            options: Any = {"params": {"stream": "true", **after}}
            opened = await self._client.get(_path(self._id), cast_to=httpx2.Response, options=options, stream=stream)
        self._headers = opened.headers
        try:
            if not is_stream(opened.headers):  # of a proxy that cannot stream
                yield Event(b'{"response": %b}' % await opened.aread())
                return
            decoder = EventDecoder()
            async for chunk in opened.aiter_bytes():  # raw and unread, of whichever httpx the client was made with
                for event in decoder.feed(chunk):
                    yield event
        finally:
            await opened.aclose()

    # --- the API ---

    async def _retrieved(self) -> JsonObject:
        assert self._id is not None
        try:
            return await self._send("GET", _path(self._id))
        except ModelCallError as error:
            if isinstance(error.__cause__, openai.NotFoundError):
                raise self._forgotten() from error
            raise

    def _forgotten(self) -> ModelCallError:
        message = f"the provider has forgotten the response {self._id}"
        return ModelCallError("ResponseForgotten", message, retryable=False)

    async def _cancel(self, response_id: str) -> None:
        try:
            async with asyncio.timeout(CANCEL_S):
                await self._send("POST", f"{_path(response_id)}/cancel", {})
        except (ModelCallError, TimeoutError) as error:
            logger.warning(
                "the response %s could not be cancelled at the provider: %s", response_id, type(error).__name__
            )

    async def _send(self, method: str, path: str, body: object = None) -> JsonObject:
        try:
            if method == "GET":
                response = await self._client.get(path, cast_to=httpx2.Response)
            else:
                response = await self._client.post(path, cast_to=httpx2.Response, body=body)
        except Exception as error:
            raise failure_of(error) from error
        self._headers = response.headers
        answer = parsed(response.content)
        if not isinstance(answer, dict):
            raise broken("the model's reply is no object", Usage(requests=1))
        return answer


def _path(response_id: str) -> str:
    return f"/responses/{quote(response_id, safe='')}"
