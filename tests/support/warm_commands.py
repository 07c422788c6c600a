"""Commands that start at once, by `support.warm`: `python -m handfast` with its imports done.

What Python itself reads from the environment when it starts is read once: a command whose variables of that kind
differ is started anew.
"""

from __future__ import annotations

import asyncio
import importlib
import io
import os
import pkgutil
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

from support.warm import TESTS, Warm, WarmProcess, fork_for_each

READ_AT_START: Final = ("PYTHON", "LC_", "LANG", "TZ", "MALLOC_", "LD_")
PIPE: Final = asyncio.subprocess.PIPE
DEVNULL: Final = asyncio.subprocess.DEVNULL


class Process(Protocol):
    """What tests use of `asyncio.subprocess.Process`."""

    stdout: asyncio.StreamReader | None
    stderr: asyncio.StreamReader | None

    @property
    def returncode(self) -> int | None:
        """Its exit code, once that is known."""

    async def communicate(self, input: bytes | None = None) -> tuple[bytes | None, bytes | None]:
        """Write to its stdin, close that, and read until it ends."""

    def send_signal(self, signal: int) -> None:
        """Send a signal."""

    def terminate(self) -> None:
        """Send SIGTERM."""

    def kill(self) -> None:
        """Send SIGKILL."""

    async def wait(self) -> int:
        """Wait until it has ended."""


class Forked:
    """A command that was forked; see `Process`."""

    def __init__(
        self,
        process: WarmProcess,
        stdin: asyncio.StreamWriter | None,
        stdout: asyncio.StreamReader | None,
        stderr: asyncio.StreamReader | None,
    ) -> None:
        self.pid = process.pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self._code: int | None = None
        self._process = process

    @property
    def returncode(self) -> int | None:
        """Its exit code, once that is known."""
        return self._code

    async def communicate(self, input: bytes | None = None) -> tuple[bytes | None, bytes | None]:
        """Write to its stdin, close that, and read until it ends."""
        out, err, _ = await asyncio.gather(_rest(self.stdout), _rest(self.stderr), self._write(input))
        await self.wait()
        return out, err

    def send_signal(self, signal: int) -> None:
        """Send a signal, unless it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait until it has ended."""
        if self._code is None:
            self._code = await self._process.gone()
        return self._code

    async def _write(self, given: bytes | None) -> None:
        if self.stdin is None:
            return
        with suppress(BrokenPipeError, ConnectionResetError):  # it need not read all, as for asyncio's own processes
            if given:
                self.stdin.write(given)
                await self.stdin.drain()
        self.stdin.close()


async def _rest(stream: asyncio.StreamReader | None) -> bytes | None:
    return None if stream is None else await stream.read()


class WarmCommands(Warm):
    """The process that forks them."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        """Take where its socket and its log are, and the environment that Python itself starts with."""
        log = directory / "commands.log"
        super().__init__(directory / "commands.sock", "support.warm_commands", log=log, environment=environment)

    def fits(self, environment: Mapping[str, str]) -> bool:
        """Whether Python would start with those variables as this process did."""
        return _at_start(environment) == _at_start(self._environment)

    async def start(
        self, *arguments: str, cwd: Path, env: Mapping[str, str], stdin: int, stdout: int, stderr: int
    ) -> Forked:
        """Start a command; the options are those of `asyncio.create_subprocess_exec`, without what tests never use."""
        with ExitStack() as theirs:
            given, writing = await _given(stdin, theirs)
            out, reading_out = await _taken(stdout, theirs)
            err, reading_err = await _taken(stderr, theirs)
            request = {"arguments": arguments, "cwd": str(cwd), "env": dict(env)}
            return Forked(await self.fork(request, [given, out, err]), writing, reading_out, reading_err)


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_START)}


async def _given(stdin: int, theirs: ExitStack) -> tuple[int, asyncio.StreamWriter | None]:
    """The end that the command reads from, and ours."""
    if stdin == PIPE:
        their_end, our_end = socket.socketpair()
        theirs.callback(their_end.close)
        _, writer = await asyncio.open_connection(sock=our_end)
        return their_end.fileno(), writer
    if stdin == DEVNULL:
        return _devnull(os.O_RDONLY, theirs), None
    return stdin, None


async def _taken(stream: int, theirs: ExitStack) -> tuple[int, asyncio.StreamReader | None]:
    """The end that the command writes to, and ours."""
    if stream == PIPE:
        reading, writing = os.pipe()
        theirs.callback(os.close, writing)
        reader = asyncio.StreamReader()
        pipe = os.fdopen(reading, "rb", buffering=0)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        return writing, reader
    if stream == DEVNULL:
        return _devnull(os.O_WRONLY, theirs), None
    return stream, None


def _devnull(how: int, theirs: ExitStack) -> int:
    fd = os.open(os.devnull, how)
    theirs.callback(os.close, fd)
    return fd


# --- the process that forks ---


def main(path: str) -> None:
    """Import all that commands need, and nothing that starts a thread, and fork commands."""
    from temporalio.worker._worker import load_default_build_id  # noqa: PLC0415 - likewise

    import handfast.cli  # noqa: PLC0415 - only this process needs it

    for each in pkgutil.walk_packages(handfast.cli.__path__, "handfast.cli."):
        if each.name != "handfast.cli.mcp_server" or find_spec("mcp") is not None:  # it needs the extra
            importlib.import_module(each.name)
    for name in ("openai", "handfast.server", "handfast.testing", "handfast.worker"):
        importlib.import_module(name)
    load_default_build_id()  # hashes every module that is loaded, once a process: for a worker, some tenths of a second
    fork_for_each(path, command)


def command(request: dict[str, Any], fds: list[int], connection: socket.socket) -> NoReturn:
    """Be ``python -m handfast``, in the folder and with the variables that were asked for."""
    from handfast.cli import main as handfast  # noqa: PLC0415 - imported already

    os.set_inheritable(connection.fileno(), False)
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.path[:] = [request["cwd"], *(each for each in sys.path if each != str(TESTS))]
    sys.argv = ["handfast", *request["arguments"]]
    sys.stdin, sys.stdout, sys.stderr = _stream(0, "r"), _stream(1, "w"), _stream(2, "w")
    code = 1
    try:
        handfast()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _stream(fd: int, mode: str) -> Any:
    """A standard stream as Python opens it when it starts."""
    former = (sys.stdin, sys.stdout, sys.stderr)[fd]
    raw = os.fdopen(fd, f"{mode}b", closefd=False)
    line_buffered = fd == 2 or os.isatty(fd)
    return io.TextIOWrapper(raw, encoding=former.encoding, errors=former.errors, line_buffering=line_buffered)


if __name__ == "__main__":
    main(sys.argv[1])
