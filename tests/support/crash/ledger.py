"""The ledger: a process with its own database, the judge of what tools did. It outlives workers, and can be killed.

Tools tell it that their body began, and what effect they have; it answers when that is on the disk. An effect with an
idempotency key is counted once, however often it is told: that is the other half of an idempotent tool.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

VARIABLE: Final = "HANDFAST_TEST_LEDGER"
START_S: Final = 30.0
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS bodies (run TEXT, tool TEXT, key TEXT);
CREATE TABLE IF NOT EXISTS effects (run TEXT, tool TEXT, key TEXT, UNIQUE (tool, key));
"""


# --- in a tool ---


async def begin(run: str, tool: str, key: str) -> None:
    """Tell that a tool's body began."""
    await _ask({"say": "begin", "run": run, "tool": tool, "key": key})


async def effect(run: str, tool: str, key: str | None = None) -> None:
    """Have an effect: with a key, at most one for it.

    Raises:
        ConnectionResetError: The ledger went away in the middle: the effect may or may not have taken place.
    """
    await _ask({"say": "effect", "run": run, "tool": tool, "key": key})


async def _ask(line: dict[str, Any]) -> None:
    host, port = os.environ[VARIABLE].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(json.dumps(line).encode() + b"\n")
        await writer.drain()
        if not await reader.readline():
            raise ConnectionResetError("the ledger closed the connection without an answer")
    finally:
        writer.close()


# --- in a test ---


class Ledger:
    """The ledger's process, as its owner sees it."""

    def __init__(self, directory: Path) -> None:
        self._database = directory / "ledger.db"
        self._port = 0
        self._holding: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill it."""
        await self.kill()

    @property
    def environment(self) -> dict[str, str]:
        """For worker processes."""
        return {VARIABLE: f"127.0.0.1:{self._port}"}

    async def start(self) -> None:
        """Start it, on the same port and database as before."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, str(self._database), str(self._port)), stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_S):
            self._port = int(await self._process.stdout.readline())

    async def hold(self, tool: str, when: Literal["before", "after"]) -> asyncio.Task[bytes]:
        """Let the next effect of *tool* hang, before or after it is kept; the task ends when it does."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(json.dumps({"say": "hold", "tool": tool, "when": when}).encode() + b"\n")
        await reader.readline()
        self._holding.append(writer)
        return asyncio.create_task(reader.readline())

    async def begun(self, run: str, tool: str) -> None:
        """Wait until the body of *tool* has begun in a run."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(json.dumps({"say": "wait", "run": run, "tool": tool, "key": ""}).encode() + b"\n")
        async with asyncio.timeout(START_S):
            await reader.readline()
        writer.close()

    async def kill(self) -> None:
        """SIGKILL: whoever waits for an answer gets a reset connection."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        for writer in self._holding:
            writer.close()
        self._holding.clear()

    def effects(self, run: str) -> Counter[str]:
        """Effects of a run, by tool."""
        return self._count("effects", run)

    def bodies(self, run: str) -> Counter[str]:
        """How often the body of each tool began in a run."""
        return self._count("bodies", run)

    def keys(self, run: str, tool: str) -> set[str]:
        """The idempotency keys with which a tool's body began."""
        with sqlite3.connect(self._database) as database:
            return {key for (key,) in database.execute("SELECT key FROM bodies WHERE run=? AND tool=?", (run, tool))}

    def _count(self, table: str, run: str) -> Counter[str]:
        with sqlite3.connect(self._database) as database:
            return Counter(tool for (tool,) in database.execute(f"SELECT tool FROM {table} WHERE run=?", (run,)))


# --- the process ---


async def _serve(path: str, port: int) -> None:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.executescript(_TABLES)

    holding: dict[str, tuple[str, asyncio.StreamWriter]] = {}
    began: defaultdict[tuple[str, str], asyncio.Event] = defaultdict(asyncio.Event)

    async def hang(told: dict[str, str], when: str) -> None:
        if told["say"] == "effect" and holding.get(told["tool"], ("",))[0] == when:
            holding.pop(told["tool"])[1].write(b"held\n")
            await asyncio.Event().wait()  # until the process is killed

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if not line.endswith(b"\n"):  # who was to say something was killed before it did
            writer.close()
            return
        told = json.loads(line)
        if told["say"] == "hold":
            holding[told["tool"]] = (told["when"], writer)
            writer.write(b"will hold\n")
            return
        if told["say"] == "wait":
            await began[told["run"], told["tool"]].wait()
            writer.write(b"began\n")
            return
        await hang(told, "before")
        row = (told["run"], told["tool"], told["key"])
        table = "bodies" if told["say"] == "begin" else "effects"
        database.execute(f"INSERT OR IGNORE INTO {table} VALUES (?, ?, ?)", row)
        await hang(told, "after")
        if told["say"] == "begin":
            began[told["run"], told["tool"]].set()
        with suppress(ConnectionError):
            writer.write(b"kept\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
