"""A person's terminal: a real one, kept by tmux, that a test types into and reads like a person."""

from __future__ import annotations

import asyncio
import os
import shlex
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

WAIT_S: Final = 60.0
COLUMNS: Final = "160"
LINES: Final = "50"


class Tmux:
    """One command in a terminal of its own.

    ::

        async with Tmux(["handfast", "watch", "run-1"], directory, environment) as terminal:
            await terminal.shows("approve?")
            await terminal.type("y")
    """

    def __init__(self, command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
        """Describe it; *environment* is all that the command gets."""
        self._command = command
        self._directory = directory
        self._environment = {**environment, "TERM": "screen-256color"}
        self._name = f"handfast-{uuid.uuid4().hex[:12]}"
        self._written = directory / f"{self._name}.fifo"
        self._stream: asyncio.StreamReader | None = None
        self._transport: asyncio.ReadTransport | None = None

    async def __aenter__(self) -> Self:
        """Open the terminal, with the command in it."""
        os.mkfifo(self._written)
        descriptor = os.open(self._written, os.O_RDWR | os.O_NONBLOCK)  # RDWR: it has no end while nobody writes
        self._stream = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._stream or asyncio.StreamReader()),
            os.fdopen(descriptor, "rb", buffering=0),
        )
        # The shell holds the screen when the command is over, so that its last words can still be read.
        line = f"{shlex.join(self._command)}; echo left with $?; exec cat"
        await self._tmux("new-session", "-d", "-x", COLUMNS, "-y", LINES, "sh", "-c", line)
        await self._tmux("pipe-pane", f"cat > {shlex.quote(str(self._written))}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the terminal; what runs in it gets SIGHUP."""
        await self._tmux("kill-server")
        if self._transport is not None:
            self._transport.close()

    async def screen(self) -> str:
        """All that was shown, as a person could scroll back to it; long lines in one piece."""
        return await self._tmux("capture-pane", "-p", "-J", "-S", "-")

    async def shows(self, words: str) -> str:
        """Wait until *words* are to be seen; return the screen."""
        assert self._stream is not None
        screen = ""
        try:
            async with asyncio.timeout(WAIT_S):
                while words not in (screen := await self.screen()):
                    await self._more()
        except TimeoutError:
            raise AssertionError(f"the terminal never showed {words!r}, but:\n{screen}") from None
        return screen

    async def type(self, text: str) -> None:
        """Type *text* and press Enter."""
        await self._tmux("send-keys", "-l", text)
        await self._tmux("send-keys", "Enter")

    async def leave(self) -> None:
        """Press Ctrl-D."""
        await self._tmux("send-keys", "C-d")

    async def _more(self) -> None:
        """Wait until something is written; a second at most, as the first words come before anybody listens."""
        assert self._stream is not None
        try:
            async with asyncio.timeout(1):
                await self._stream.read(65_536)
        except TimeoutError:
            return

    async def _tmux(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *("tmux", "-L", self._name, "-f", os.devnull, *arguments),
            cwd=self._directory,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()
