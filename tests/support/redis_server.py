"""A real Redis for the tests, on a free port of the loopback interface, that can be killed and started again."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Final, Self

STARTS_WITHIN_S: Final = 10.0
READY: Final = b"Ready to accept connections"


class RedisServer:
    """One server process; it keeps nothing on disk.

    Attributes:
        url: Where it listens, the same after a restart.
    """

    def __init__(self, folder: Path) -> None:
        """Choose a port; the folder is the server's working directory."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> Self:
        """Start it, and wait until it accepts connections.

        Raises:
            AssertionError: It does not.
        """
        self._process = await asyncio.create_subprocess_exec(
            *("redis-server", "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"),
            *("--dir", str(self._folder)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(STARTS_WITHIN_S):
            while line := await self._process.stdout.readline():
                if READY in line:
                    return self
        raise AssertionError("redis-server ended at once: is its port taken?")

    async def kill(self) -> None:
        """Kill it, as a machine that loses its power would."""
        if self._process is not None:
            self._process.kill()
            await self._process.communicate()
            self._process = None
