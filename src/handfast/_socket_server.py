"""A server on a socket: every connection is a task, and all tasks end with the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

READ_AHEAD_BYTES: Final = 64 * 1024


class SocketServer:
    """Hands each connection to a function, and closes it after that."""

    def __init__(
        self,
        serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
        *,
        most: int | None = None,
        line_bytes: int = READ_AHEAD_BYTES,
    ) -> None:
        """Describe the server.

        Args:
            serve: Answers one connection.
            most: Connections at a time; further ones are closed at once. None for any number.
            line_bytes: Longest line that *serve* can read.
        """
        self._serve = serve
        self._most = most
        self._line_bytes = line_bytes
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, host: str, port: int = 0) -> tuple[str, int]:
        """Listen, and return where."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=self._line_bytes)
        found_host, found_port = self._server.sockets[0].getsockname()[:2]
        return found_host, found_port

    async def close(self) -> None:
        """Close every connection."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._most is not None and len(self._tasks) >= self._most:
            writer.transport.abort()
            return
        task = asyncio.ensure_future(self._served(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
