"""Transports to an MCP server: a process that is started, or an address."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self

import anyio
import httpx2
from mcp import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCResponse

from handfast.definitions.secret import Secret
from handfast.definitions.tools.mcp import HttpTransport, McpServer, StdioTransport
from handfast.discretion import shows_texts

__all__ = ["LOST", "NOT_REACHED", "Streams", "Values", "hidden_in", "opened"]

logger = logging.getLogger("handfast.mcp")

NOT_REACHED: Final = -32950
"""Code of the error that stands for a request which reached nobody."""
LOST: Final = -32951
"""Code of the error that stands for a request which was sent, and whose answer did not come."""
CONNECT_S: Final = 30.0
MARKER: Final = "[secret]"
STDERR_LINES: Final = 20
STDERR_CHARACTERS: Final = 500

Streams = tuple[Any, Any]
"""Read and write stream of the SDK."""
Sift = Callable[[dict[str, Any]], None]
Values = Mapping[Secret, str]
"""The secrets that a server needs, by reference."""


def hidden_in(text: str, secrets: Iterable[str]) -> str:
    """Return a text of a server's without the values that it was given."""
    for value in secrets:
        text = text.replace(value, MARKER) if value else text
    return text


class Stderr:
    """Reads what a server's process writes to its stderr: logs it, and keeps the last lines.

    Attributes:
        secrets: Values that are neither logged nor kept.
    """

    def __init__(self, server: str) -> None:
        self.secrets: tuple[str, ...] = ()
        self._server = server
        self._lines: deque[str] = deque(maxlen=STDERR_LINES)
        self._transport: asyncio.ReadTransport | None = None

    @property
    def last(self) -> str:
        """The last line that says something."""
        said = [line for line in self._lines if line.strip()]
        return said[-1].strip()[:STDERR_CHARACTERS] if said else ""

    @asynccontextmanager
    async def written(self) -> AsyncGenerator[Any]:
        """Give the end of a pipe that a process is started with, and close it here when that has its own."""
        read, write = os.pipe()
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_read_pipe(lambda: _Lines(self._take), os.fdopen(read, "rb", 0))
        file = os.fdopen(write, "w")
        try:
            yield file
        finally:
            file.close()

    def close(self) -> None:
        """Read no more of it."""
        if self._transport is not None:
            self._transport.close()

    def _take(self, line: str) -> None:
        line = hidden_in(line, self.secrets)
        self._lines.append(line)
        if shows_texts():
            logger.info("%s: %s", self._server, line)


class _Lines(asyncio.Protocol):
    """Cuts what comes into lines, of which none grows without end."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """See base class."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line[-STDERR_CHARACTERS:].decode(errors="replace"))
        self._rest = self._rest[-STDERR_CHARACTERS:]

    def connection_lost(self, exc: Exception | None) -> None:
        """See base class."""
        if self._rest:
            self._take(self._rest.decode(errors="replace"))


class _Watched:
    """A read stream of the SDK that tells when it has ended: the session itself says so only to who asks something.

    What a server lists is sifted here: of a listing with one tool that is none the session refuses the whole.
    """

    def __init__(self, stream: Any, ended: asyncio.Event, sift: Sift) -> None:
        self._stream = stream
        self._ended = ended
        self._sift = sift

    @property
    def last_context(self) -> Any:
        """Context of the message that was read last."""
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        """Read one message."""
        try:
            message: SessionMessage | Exception = await self._stream.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._ended.set()
            raise
        if isinstance(message, SessionMessage) and isinstance(message.message, JSONRPCResponse):
            self._sift(message.message.result)
        return message

    async def aclose(self) -> None:
        """Close it."""
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


@asynccontextmanager
async def opened(
    server: McpServer, values: Values, ended: asyncio.Event, stderr: Stderr, sift: Sift
) -> AsyncGenerator[Streams]:
    """Reach *server*; leaving ends its process, or its session.

    Args:
        server: The server.
        values: Its secrets.
        ended: Set when the server has gone.
        stderr: Takes what its process writes there.
        sift: Takes out of each result what the session would refuse the whole for.
    """
    match server.transport:
        case StdioTransport() as transport:
            async with _process(transport, values, stderr) as (read, write):
                yield _Watched(read, ended, sift), write
        case HttpTransport() as transport:
            async with _address(transport, values) as (read, write):
                yield _Watched(read, ended, sift), write


@asynccontextmanager
async def _process(transport: StdioTransport, values: Values, stderr: Stderr) -> AsyncGenerator[Streams]:
    parameters = StdioServerParameters(
        command=transport.command,
        args=list(transport.arguments),
        env=_filled(transport.environment, values),
        cwd=transport.directory,
    )
    async with stderr.written() as file:
        client = stdio_client(parameters, errlog=file)
        streams = await client.__aenter__()  # the pipe is the process' own from here on
    try:
        yield streams
    except BaseException as error:
        if not await client.__aexit__(type(error), error, error.__traceback__):
            raise
    else:
        await client.__aexit__(None, None, None)
    finally:
        stderr.close()


@asynccontextmanager
async def _address(transport: HttpTransport, values: Values) -> AsyncGenerator[Streams]:
    headers, auth = _filled(transport.headers, values), transport.auth
    if isinstance(auth, Secret):
        auth = values[auth]
    if isinstance(auth, str):
        headers, auth = {**headers, "Authorization": f"Bearer {auth}"}, None
    timeout = httpx2.Timeout(CONNECT_S, read=None)  # a call may take as long as the tool's own timeout
    inner = httpx2.AsyncHTTPTransport()
    async with (
        httpx2.AsyncClient(headers=headers, auth=auth, timeout=timeout, transport=_Telling(inner)) as client,
        streamable_http_client(transport.url, http_client=client, max_sse_event_size=None) as streams,
    ):
        yield streams


def _filled(given: Mapping[str, str | Secret], values: Values) -> dict[str, str]:
    return {name: values[each] if isinstance(each, Secret) else each for name, each in given.items()}


class _Telling(httpx2.AsyncBaseTransport):
    """Answers in a server's place where none did: one request that fails must not end the session of the others.

    The SDK (2.3) ends the whole connection when a request cannot be sent, and says of a status above 399 only that it
    was an error. What is known about the one request, whether it reached anybody above all, is lost with that.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See base class."""
        try:
            response = await self._inner.handle_async_request(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError) as error:
            return _failed(request, NOT_REACHED, f"cannot be reached: {_said(error)}", error)
        except httpx2.TransportError as error:
            return _failed(request, LOST, f"did not answer: {_said(error)}", error)
        if request.method == "POST" and response.status_code >= 400 and response.status_code not in (401, 403, 404):
            kind = response.headers.get("content-type", "").lower()
            if not kind.startswith("application/json"):
                await response.aclose()
                code = NOT_REACHED if response.status_code in (429, 503) else LOST
                return _failed(request, code, f"answers HTTP {response.status_code} {response.reason_phrase}", None)
        return response

    async def aclose(self) -> None:
        """See base class."""
        await self._inner.aclose()


def _failed(request: httpx2.Request, code: int, message: str, error: Exception | None) -> httpx2.Response:
    if request.method != "POST":
        if error is None:
            raise httpx2.ReadError(message, request=request)
        raise error
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}
    return httpx2.Response(503, json=body, request=request)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class BriefClient(logging.Filter):
    """Tells of what a server sends amiss in one line: the SDK logs each with a trace of its own frames."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See base class."""
        record.exc_info, record.exc_text = None, None
        return not str(record.msg).startswith("Failed to parse JSONRPC message")  # told once for each connection


_BRIEF: Final = BriefClient()


def quiet_client() -> None:
    """Shorten what the SDK's transports log; once per process, as it is the same filter."""
    for name in ("mcp.client.stdio", "mcp.client.streamable_http"):
        logging.getLogger(name).addFilter(_BRIEF)
