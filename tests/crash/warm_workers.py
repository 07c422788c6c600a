"""Worker processes that start at once: one process has everything imported, and forks a worker when one is asked for.

Each worker is a process of its own, in a group of its own, with a connection of its own to the server, and dies by
SIGKILL like any other. What a fork saves is the seconds of imports, on which a crash matrix would spend its time.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

TESTS: Final = Path(__file__).resolve().parents[1]
START_S: Final = 60.0


# --- in a test ---


class WarmWorker:
    """A worker process."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self._reader = reader
        self._writer = writer

    async def ready(self) -> None:
        """Wait until it polls."""
        async with asyncio.timeout(START_S):
            line = await self._reader.readline()
        if line != b"ready\n":
            raise AssertionError(f"worker {self.pid} did not start: {line!r}")

    def kill(self) -> None:
        """SIGKILL, children included."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def gone(self) -> None:
        """Wait until the process has ended: its end of the connection is closed then, and not before."""
        async with asyncio.timeout(START_S):
            while await self._reader.readline():
                pass
        self._writer.close()


class WarmWorkers:
    """The process that forks them."""

    def __init__(self, directory: Path, agents: str, environment: Mapping[str, str]) -> None:
        """Take where its socket and the workers' logs are, ``MODULE:NAME`` of their agents, and their environment."""
        self._socket = directory / "workers.sock"
        self.log = directory / "workers.log"
        self._agents = agents
        self._environment = dict(environment)

    async def __aenter__(self) -> Self:
        """Start it."""
        path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "crash.warm_workers", str(self._socket), self._agents),
                cwd=TESTS,
                env={**os.environ, **self._environment, "PYTHONPATH": path},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_S):
            line = await self._process.stdout.readline()
        if line != b"ready\n":
            raise AssertionError(f"no workers can be forked: {self.log.read_text()}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, and every worker with it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def start(self, address: str, task_queue: str) -> WarmWorker:
        """Fork a worker; it need not poll yet when this returns.

        Args:
            address: Of the server, or of a proxy before it.
            task_queue: Where it polls.
        """
        reader, writer = await asyncio.open_unix_connection(self._socket)
        writer.write(json.dumps({"address": address, "task_queue": task_queue}).encode() + b"\n")
        async with asyncio.timeout(START_S):
            return WarmWorker(int(await reader.readline()), reader, writer)


# --- the process that forks ---


def main(path: str, target: str) -> None:
    """Fork a worker for each connection, until standard input ends."""
    from crash import warm_worker  # noqa: PLC0415 - only this process needs what it imports

    agents = warm_worker.prepare(target)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(64)
    if len(os.listdir("/proc/self/task")) != 1:
        raise AssertionError("a process with threads cannot be forked")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    children: set[int] = set()
    while True:
        readable, _, _ = select.select([listening, sys.stdin], [], [], 0.5)
        for pid in list(children):
            if os.waitpid(pid, os.WNOHANG)[0]:
                children.discard(pid)
        if sys.stdin in readable:
            break
        if listening in readable:
            connection, _ = listening.accept()
            spec = connection.makefile().readline()
            pid = os.fork()
            if pid == 0:
                listening.close()
                _child(agents, json.loads(spec), connection)
            children.add(pid)
            connection.close()
    for pid in children:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _child(agents: Any, spec: dict[str, Any], connection: socket.socket) -> None:
    """Never returns: what the parent would do after it is not the child's business."""
    from crash import warm_worker  # noqa: PLC0415 - imported already

    os.setsid()
    connection.sendall(f"{os.getpid()}\n".encode())
    code = 1
    try:
        asyncio.run(warm_worker.serve_agents(agents, spec, lambda: connection.sendall(b"ready\n")))
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
