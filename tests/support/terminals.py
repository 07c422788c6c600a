"""Plays a page that a reader follows in several terminals: files are written, commands are typed, processes are killed.

- A block that begins with ``# name.py`` is a file, which is written as it stands.
- In a console block each line that begins with ``$`` is typed in; what stands below it is what is then seen. It has to
  be all that the command says, and the command has to end with the code 0, or with that of ``<!-- exit: N -->``.
- ``<!-- terminal: NAME -->`` before a console block names a terminal in which a command goes on running: what stands
  below is waited for. ``^C`` is typed as well, and ``Killed`` is seen where the command was killed.
- ``…`` stands for any text, and alone on a line for any lines. Ids of eight hexadecimal digits, ports and ages are
  those of the page in the page, and those of this run when it is played.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from support.pages import Block

WAIT_S: Final = 60.0
LOOKS: Final = ("handfast approvals", "handfast show", "cat ")
TYPED_INSTEAD: Final = {"handfast dev": "handfast dev --port 0"}
"""Tests beside this one may want the default port."""

_PIECES: Final = re.compile(
    r"(?P<id>\b[0-9a-f]{8}\b)|(?P<port>127\.0\.0\.1:\d+)|(?P<age>\b\d+ \w+ ago)|(?P<any>…)|(?P<blank>\s+)"
)


class Terminals:
    """Everything that a reader has open.

    Attributes:
        folder: Where the reader works.
    """

    def __init__(self, folder: Path, steps: Sequence[Block]) -> None:
        self.folder = folder
        self._left = list(steps)
        self._failed: Block | None = None
        self._ids: dict[str, str] = {}
        self._open: dict[str, Terminal] = {}

    async def play_through(self, step: Block) -> None:
        """Do what every step shows that is left up to *step*."""
        assert self._failed is None, f"an earlier step does not work: {self._failed}"
        while step in self._left:
            self._failed = self._left.pop(0)
            await self._play(self._failed)
            self._failed = None

    async def _play(self, block: Block) -> None:
        if block.file is not None:
            (self.folder / block.file).write_text(block.source)
            return
        key, value = block.note or ("exit", "0")
        if key == "terminal":
            await self._watch(self._open.setdefault(value, Terminal(self.folder)), block.source)
        else:
            await self._run(block.source, int(value))

    async def close(self) -> None:
        """Close every terminal."""
        for terminal in self._open.values():
            await terminal.close()

    async def _watch(self, terminal: Terminal, source: str) -> None:
        seen: list[str] = []
        for line in [*source.splitlines(), ""]:
            special = line.startswith("$ ") or line in ("^C", "Killed", "")
            if special and seen:
                match = await terminal.see(self._pattern(seen))
                self._learn(match)
                seen = []
            if line == "^C":
                await terminal.interrupt()
            elif line == "Killed":
                await terminal.was_killed()
            elif special and line:
                await terminal.type(self._typed(line))
            elif line:
                seen.append(line)

    async def _run(self, source: str, code: int) -> None:
        commands = re.split(r"^\$ ", source, flags=re.MULTILINE)[1:]
        for number, command in enumerate(commands):
            line, _, shown = command.partition("\n")
            await self._look(line, shown, code if number == len(commands) - 1 else 0)

    async def _look(self, line: str, shown: str, code: int) -> None:
        """Run a command to its end; one that only looks is typed again until what it is to show is there."""
        pattern = self._pattern(shown.splitlines())
        deadline = asyncio.get_running_loop().time() + WAIT_S
        while True:
            terminal = Terminal(self.folder)
            await terminal.type(self._typed(f"$ {line}"))
            said = await terminal.end(code)
            if match := re.fullmatch(pattern, said):
                self._learn(match)
                return
            if not line.startswith(LOOKS) or asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"$ {line}\n{said}\ninstead of\n{shown}")

    def _typed(self, line: str) -> str:
        command = line.removeprefix("$ ")
        for shown, actual in self._ids.items():
            command = command.replace(shown, actual)
        return TYPED_INSTEAD.get(command, command)

    def _pattern(self, lines: list[str]) -> str:
        """What fits these lines; an id that is seen for the first time is a group of its own."""
        return "".join(r"(?:.*\n)*?" if line == "…" else self._line(line) for line in lines)

    def _line(self, line: str) -> str:
        made: list[str] = []
        at = 0
        for piece in _PIECES.finditer(line.rstrip()):
            made.append(re.escape(line[at : piece.start()]))
            at = piece.end()
            match piece.lastgroup:
                case "id":
                    known = self._ids.get(piece[0])
                    made.append(f"(?P<id_{piece[0]}>[0-9a-f]{{8}})" if known is None else known)
                case "port":
                    made.append(r"127\.0\.0\.1:\d+")
                case "age":
                    made.append(r"\d+ \w+ ago")
                case "any":
                    made.append(".*")
                case _:
                    made.append(r"\s+")
        return "".join([*made, re.escape(line.rstrip()[at:]), r"[^\S\n]*\n"])

    def _learn(self, match: re.Match[str]) -> None:
        self._ids |= {name.removeprefix("id_"): value for name, value in match.groupdict().items()}


class Terminal:
    """One terminal: what was said in it, and the command that runs in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._said = ""
        self._news = asyncio.Event()

    async def type(self, command: str) -> None:
        """Run *command* when the one before has ended."""
        if self._process is not None:
            await self.end(0)
        self._said = ""
        self._process = await asyncio.create_subprocess_exec(
            *("bash", "-c", command),
            cwd=self._folder,
            env=_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self._reading = asyncio.create_task(self._read(self._process))

    async def see(self, pattern: str) -> re.Match[str]:
        """Wait until it was said, and forget all up to there."""
        wanted = re.compile(rf"^{pattern}", re.MULTILINE)
        try:
            async with asyncio.timeout(WAIT_S):
                while (match := wanted.search(self._said)) is None:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{self._said}\nis all that was said, instead of\n{pattern}") from None
        self._said = self._said[match.end() :]
        return match

    async def end(self, code: int) -> str:
        """Wait until the command has ended with *code*, and return what it said."""
        assert self._process is not None
        assert self._reading is not None
        async with asyncio.timeout(WAIT_S):
            await self._reading
            ended = await self._process.wait()
        self._process = None
        assert ended == code, f"it ended with {ended}, not with {code}:\n{self._said}"
        return self._said

    async def interrupt(self) -> None:
        """Type Ctrl-C; the command ends well."""
        self._signal(signal.SIGINT)
        await self.end(0)

    async def was_killed(self) -> None:
        """The command was ended by SIGKILL."""
        await self.end(-signal.SIGKILL)

    async def close(self) -> None:
        """End what still runs."""
        if self._process is None or self._reading is None:
            return
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(WAIT_S):
                await self._reading
        finally:
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self._said += line.decode()
            self._news.set()


def _environment() -> Mapping[str, str]:
    """A reader's: no key, no server but the folder's own, and the commands of this environment."""
    ours = ("HANDFAST_", "TEMPORAL_", "OPENAI_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {
        **kept,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")]),
        "HANDFAST_USER": "lead",
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "120",
    }
