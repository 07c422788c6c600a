"""Processes that start at once: one has everything imported, and forks another whenever one is asked for.

Each is a process of its own, in a session of its own, and dies by signals like any other. What a fork saves is the
seconds of imports, on which tests that start hundreds of processes would spend their time.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self

TESTS: Final = Path(__file__).resolve().parents[1]
START_S: Final = 60.0
_REQUEST_BYTES: Final = 4 * 1024 * 1024
_MOST_FDS: Final = 3


class WarmProcess:
    """A process that was forked.

    Attributes:
        pid: Of the process, and of its process group and session.
    """

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self._reader = reader
        self._writer = writer

    async def line(self) -> str:
        """What it says of itself next; empty where it has ended."""
        return (await self._reader.readline()).decode()

    def kill(self) -> None:
        """SIGKILL, children included."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def gone(self) -> int:
        """Wait until the process has ended: its exit code, negative where a signal ended it."""
        async with asyncio.timeout(START_S):
            said = await self._reader.read()
        self._writer.close()
        return os.waitstatus_to_exitcode(int(said.splitlines()[-1]))


class Warm:
    """The process that forks them."""

    def __init__(self, path: Path, module: str, *arguments: str, log: Path, environment: Mapping[str, str]) -> None:
        """Take the path of its socket, the module that it runs and what that takes, and where its words go."""
        self._path = path
        self._command = ("-m", module, str(path), *arguments)
        self.log = log
        self._environment = dict(environment)

    async def __aenter__(self) -> Self:
        """Start it."""
        path = os.pathsep.join([str(TESTS), self._environment.get("PYTHONPATH", "")])
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, *self._command),
                cwd=TESTS,
                env={**self._environment, "PYTHONPATH": path},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_S):
            line = await self._process.stdout.readline()
        if line != b"ready\n":
            raise AssertionError(f"nothing can be forked: {self.log.read_text()}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, and every process that it forked."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def fork(self, request: Mapping[str, Any], fds: Sequence[int] = ()) -> WarmProcess:
        """Fork a process.

        Args:
            request: What the module's function takes.
            fds: Open files that it gets.
        """
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self._path))
        message = json.dumps(request).encode() + b"\n"
        socket.send_fds(connection, [message[:1]], list(fds))
        connection.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        writer.write(message[1:])
        async with asyncio.timeout(START_S):
            return WarmProcess(int(await reader.readline()), reader, writer)


# --- the process that forks ---

Child = Callable[[dict[str, Any], list[int], socket.socket], NoReturn]


def fork_for_each(path: str, child: Child) -> None:
    """Fork a process for each connection, until standard input ends.

    Args:
        path: Of the socket.
        child: What the process does: it takes the request, its open files and the connection, and never returns.
    """
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(64)
    ended, wake = socket.socketpair()
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    if len(os.listdir("/proc/self/task")) != 1:
        raise AssertionError("a process with threads cannot be forked")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    children: dict[int, socket.socket] = {}
    while True:
        readable, _, _ = select.select([listening, ended, sys.stdin], [], [])
        if ended in readable:
            ended.recv(4096)
            _tell_ended(children)
        if sys.stdin in readable:
            break
        if listening in readable:
            connection, _ = listening.accept()
            request, fds = _read(connection)
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for other in (listening, ended, wake, *children.values()):
                    other.close()
                os.setsid()
                connection.sendall(f"{os.getpid()}\n".encode())
                child(request, fds, connection)
            children[pid] = connection
            for fd in fds:
                os.close(fd)
    for pid in children:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _tell_ended(children: dict[int, socket.socket]) -> None:
    for pid, connection in list(children.items()):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            del children[pid]
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(f"{status}\n".encode())
            connection.close()


def _read(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    start, fds, _, _ = socket.recv_fds(connection, 1, _MOST_FDS)
    with connection.makefile("rb") as rest:
        return json.loads(start + rest.readline(_REQUEST_BYTES)), list(fds)
