"""HTTP/1.1 on asyncio streams: keep-alive, chunks, and a client that hangs up is noticed at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import parse_qsl

import h11

MAX_BODY: Final = 32 * 1024 * 1024
"""Longest request body, in bytes; a longer one is answered with 413."""

_READ: Final = 256 * 1024


@dataclass(frozen=True)
class HttpRequest:
    """A request, read to its end."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    query: Mapping[str, str] = field(default_factory=dict)


class _BodyTooLargeError(Exception):
    pass


class Exchange:
    """One request, and the ways to answer it: `send`, `stream`, `cut`; none of them closes the connection.

    Attributes:
        request: The request.
        client_gone: Whether the client left before the answer was complete.
    """

    def __init__(self, request: HttpRequest, connection: Connection) -> None:
        self.request = request
        self.client_gone = False
        self._connection = connection

    async def send(
        self, status: int, body: bytes, media: str = "application/json", headers: dict[str, str] | None = None
    ) -> None:
        """Answer with a whole body."""
        await self._connection.begin(
            status, {"content-type": media, "content-length": str(len(body)), **(headers or {})}
        )
        await self._connection.write(h11.Data(data=body))
        await self._connection.write(h11.EndOfMessage())

    async def stream(
        self, status: int, chunks: Iterable[bytes] | AsyncIterable[bytes], media: str, headers: dict[str, str]
    ) -> None:
        """Answer chunk by chunk, as they come."""
        await self._connection.begin(status, {"content-type": media, "cache-control": "no-store", **headers})
        if isinstance(chunks, AsyncIterable):
            async for chunk in chunks:
                await self._connection.write(h11.Data(data=chunk))
        else:
            for chunk in chunks:
                await self._connection.write(h11.Data(data=chunk))
        await self._connection.write(h11.EndOfMessage())

    async def cut(self, status: int, body: bytes, media: str, after_bytes: int) -> None:
        """Begin to answer, and stop within the body; the connection closes when the handler returns."""
        await self._connection.begin(
            status, {"content-type": media, "content-length": str(max(len(body), after_bytes + 1))}
        )
        await self._connection.write(h11.Data(data=body[:after_bytes]))


Handler: TypeAlias = Callable[[Exchange], Awaitable[None]]


class Connection:
    """One client's connection: requests one after the other, until either side closes it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=1024 * 1024)

    async def serve(self) -> None:
        """Answer requests until the connection ends."""
        try:
            while await self._serve_one():
                self._http.start_next_cycle()
        except ConnectionError:
            pass  # the client left while it was being answered: there is nobody to tell
        finally:
            self._writer.close()
            with suppress(ConnectionError):
                await self._writer.wait_closed()

    def abort(self) -> None:
        """Close the connection at once, whatever is left to send."""
        self._writer.transport.abort()

    async def begin(self, status: int, headers: dict[str, str]) -> None:
        """Send the status line and the headers."""
        await self.write(h11.Response(status_code=status, headers=list(headers.items())))

    async def write(self, event: h11.Event) -> None:
        """Send one event."""
        self._writer.write(self._http.send(event) or b"")
        await self._writer.drain()

    async def _serve_one(self) -> bool:
        """Serve the next request, and tell whether another may follow."""
        try:
            request = await self._read_request()
        except h11.RemoteProtocolError as error:
            await self._give_up(error.error_status_hint)
            return False
        except _BodyTooLargeError:
            await self._give_up(413)
            return False
        if request is None:
            return False
        await self._handle(Exchange(request, self))
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _read_request(self) -> HttpRequest | None:
        head: h11.Request | None = None
        body, size = bytearray(), 0
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    await self.write(h11.InformationalResponse(status_code=100, headers=[]))
                self._http.receive_data(await self._reader.read(_READ))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                size += len(event.data)
                if size <= MAX_BODY:
                    body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                if size > MAX_BODY:
                    raise _BodyTooLargeError  # only now: a client that is still sending reads no answer
                path, _, query = head.target.decode("latin-1").partition("?")
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
                asked = dict(parse_qsl(query, keep_blank_values=True))
                return HttpRequest(head.method.decode(), path, headers, bytes(body), asked)
            else:
                return None

    async def _handle(self, exchange: Exchange) -> None:
        """Run the handler; cancel it as soon as the client closes the connection."""
        handling = asyncio.ensure_future(self._handler(exchange))
        watching = asyncio.ensure_future(self._watch())
        try:
            await asyncio.wait({handling, watching}, return_when=asyncio.FIRST_COMPLETED)
            exchange.client_gone = not handling.done()
        finally:
            handling.cancel()
            watching.cancel()
            await asyncio.gather(handling, watching, return_exceptions=True)
        if not exchange.client_gone:
            handling.result()

    async def _watch(self) -> None:
        """Return when the client is gone; what it sends before (a pipelined request) is kept for later."""
        try:
            while data := await self._reader.read(_READ):
                self._http.receive_data(data)
            self._http.receive_data(b"")
        except ConnectionError:
            return

    async def _give_up(self, status: int) -> None:
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await self.begin(status, {"content-length": "0", "connection": "close"})
            await self.write(h11.EndOfMessage())
