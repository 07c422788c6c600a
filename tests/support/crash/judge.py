"""The judge: counts what tools did, outside every worker, so that a killed one cannot lie about it.

Tools report over TCP and go on when the judge lets them, which makes "in the middle of the tool" a point, not a time.
"""

from __future__ import annotations

import asyncio
import os
from types import TracebackType
from typing import Self

VARIABLE = "HANDFAST_TEST_JUDGE"


async def report(line: str) -> None:
    """Tell the judge, from inside a tool, and wait until it lets the tool go on."""
    host, port = os.environ[VARIABLE].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"{line}\n".encode())
        await writer.drain()
        await reader.readline()
    finally:
        writer.close()


class Judge:
    """A server of lines, in the test's own process."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._held: dict[str, asyncio.Event] = {}
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let everybody go on, and close."""
        for event in self._held.values():
            event.set()
        self._server.close()

    @property
    def environment(self) -> dict[str, str]:
        """For worker processes."""
        return {VARIABLE: self.address}

    def hold(self, line: str) -> None:
        """Keep whoever reports *line* waiting."""
        self._held[line] = asyncio.Event()

    def release(self, line: str) -> None:
        """Let whoever reports *line* go on, now and later."""
        self._held.pop(line, asyncio.Event()).set()

    async def heard(self, line: str, times: int = 1, timeout: float = 30.0) -> None:
        """Wait until *line* was reported *times* times."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: self.lines.count(line) >= times)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode().strip()
        async with self._changed:
            self.lines.append(line)
            self._changed.notify_all()
        if line in self._held:
            await self._held[line].wait()
        try:
            writer.write(b"go\n")
            await writer.drain()
        except ConnectionError:
            return  # whoever reported was killed while it waited
        finally:
            writer.close()
