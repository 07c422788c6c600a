"""A tool that runs one command line in a process group, which ends with the call."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import os
import shlex
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, cast

from handfast.definitions.checks import a_kind, check_bool, check_count, check_duration
from handfast.definitions.gates.approval import ApprovalRule
from handfast.definitions.tools.function_tool import Tool, tool
from handfast.errors import DefinitionError
from handfast.payloads.tool_call import TOOL_TIMEOUT

__all__ = ["ShellResult", "shell_tool"]

PASSED_ON: Final = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER")
"""Variables of the worker that a command sees by default: none that holds a secret."""
MOST_OUTPUT_BYTES: Final = 256 * 1024
LONGEST_RUN: Final = timedelta(days=364)
"""With grace and margin, it is within the longest timeout of a tool."""
LAST_WORDS_S: Final = 1.0
"""Time to read on after the command has ended and its group has been killed."""
LOOK_EVERY_S: Final = 0.05
LONGEST_GRACE: Final = timedelta(seconds=45)
"""A call that is cancelled has a minute to end; beyond it nobody would hear how it did."""
TOOL_MARGIN: Final = timedelta(seconds=30)
"""Time of the tool's own timeout beyond the command's and the grace: a command that takes too long is told of."""

_PR_SET_DUMPABLE: Final = 4


@dataclass(frozen=True)
class ShellResult:
    """Result of a command.

    Attributes:
        exit_code: Negative for a signal; None where it took too long.
        stdout: Text; of a long one the start and the end.
        stderr: Likewise.
        truncated: A part of the output was left out.
        timed_out: The command took too long and was ended.
    """

    exit_code: int | None
    stdout: str
    stderr: str
    truncated: bool = False
    timed_out: bool = False


def shell_tool(
    name: str = "shell",
    *,
    approval: ApprovalRule = True,
    cwd: str | Path | None = None,
    timeout: timedelta = TOOL_TIMEOUT,
    grace: timedelta = timedelta(seconds=5),
    environment: Sequence[str] | Mapping[str, str] | None = None,
    max_output_bytes: int = 32 * 1024,
    shell: bool = True,
    user: str | int | None = None,
    **options: Any,
) -> Tool[[str], Any]:
    """Make a tool that runs a command line on the worker's machine, with the worker's rights: gate it.

    *environment* is no boundary: a command with the worker's rights can read the worker's files, and what other
    processes of the same user hold. On Linux the first command makes the worker's own process unreadable to commands
    under /proc, and to debuggers: that keeps a key out of what a command prints, and no attacker out. Another *user*
    is a boundary, or a container of its own for a worker that has the tool and no keys.

    Its one parameter is ``command``, its result a `ShellResult`. Standard input is empty. When the call is cancelled,
    takes too long or its worker stops, and also when the command itself ends, everything that it started gets SIGTERM
    and after *grace* SIGKILL; only a process that leaves its process group escapes.

    Args:
        name: For the model.
        approval: As `handfast.tool`; by default a person is asked each time.
        cwd: Working directory; None is the worker's.
        timeout: Longest time for the command; one that takes longer ends with a result that says so.
        grace: Time between SIGTERM and SIGKILL; at most 45 seconds.
        environment: Names of the worker's variables that the command may see, or a mapping of all that it sees; None
            passes on a few without secrets, `PASSED_ON`.
        max_output_bytes: Kept of stdout and of stderr each, at most 256 KiB.
        user: The user, by name or number, as whom commands run; only a worker that runs as root may say so. None is
            the worker's own.
        shell: Hand the line to ``/bin/sh -c``; False splits it into words and runs the first, without a shell.
        options: Further ones of `handfast.tool`: ``description``, ``effect``, ``task_queue``…

    Raises:
        DefinitionError: An option cannot work.
    """
    subject = f"shell tool {name!r}"
    _check_run(subject, cwd, {"timeout": timeout, "grace": grace})
    if grace > LONGEST_GRACE:
        raise DefinitionError(subject, f"grace must be at most {LONGEST_GRACE.seconds} seconds, not {grace}")
    check_bool(subject, "shell", shell)
    _check_bounds(subject, environment, max_output_bytes)
    _check_user(subject, user)

    async def run(command: str) -> ShellResult:
        """Run one command line and read what it prints.

        Args:
            command: The command line, as it would be typed.
        """
        words = ["/bin/sh", "-c", command] if shell else shlex.split(command)
        if not words:
            raise ValueError("there is no command")
        limits = _Limits(timeout.total_seconds(), grace.total_seconds(), max_output_bytes)
        account = None if user is None else _account(user)
        return await _Command(words, cwd, _environment(environment, account), limits, account).run()

    return cast(
        "Tool[[str], Any]", tool(name=name, approval=approval, timeout=timeout + grace + TOOL_MARGIN, **options)(run)
    )


@dataclass(frozen=True)
class _Limits:
    timeout_s: float
    grace_s: float
    output_bytes: int


class _Command:
    """One execution of a command, and the process group that it leads."""

    def __init__(
        self,
        words: Sequence[str],
        cwd: str | Path | None,
        env: Mapping[str, str],
        limits: _Limits,
        account: _Account | None,
    ) -> None:
        self._words = words
        self._cwd = cwd
        self._env = env
        self._limits = limits
        self._identity = {} if account is None else account.identity()

    async def run(self) -> ShellResult:
        """Run it to its end; whatever ends the wait ends the group."""
        stdout, stderr = _Kept(self._limits.output_bytes), _Kept(self._limits.output_bytes)
        pipes = [await stdout.open(), await stderr.open()]
        try:
            process = await self._start(pipes)
        except BaseException:
            stdout.close()
            stderr.close()
            raise
        finally:
            for pipe in pipes:
                os.close(pipe)
        try:
            waiting = asyncio.ensure_future(process.wait())
            await asyncio.wait({waiting}, timeout=self._limits.timeout_s)
            timed_out = not waiting.done()
            await asyncio.wait({stdout.ended, stderr.ended}, timeout=0 if timed_out else LOOK_EVERY_S)
            await self._end_group(process)
            await asyncio.wait({stdout.ended, stderr.ended}, timeout=LAST_WORDS_S)
            exit_code = await waiting
        except asyncio.CancelledError:
            await self._end_group(process)
            await asyncio.wait({waiting}, timeout=LAST_WORDS_S)
            raise
        finally:
            _signal(process.pid, signal.SIGKILL)
            stdout.close()
            stderr.close()
        return ShellResult(
            exit_code=None if timed_out else exit_code,
            stdout=stdout.text(),
            stderr=stderr.text(),
            truncated=stdout.truncated or stderr.truncated,
            timed_out=timed_out,
        )

    async def _start(self, pipes: Sequence[int]) -> Process:
        """Start it. A cancel in the middle waits until it has started, as only then its group can be ended."""
        _hide_from_commands()
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *self._words,
                stdin=DEVNULL,
                stdout=pipes[0],
                stderr=pipes[1],
                cwd=self._cwd,
                env=dict(self._env),
                start_new_session=True,
                **self._identity,
            )
        )
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            with suppress(OSError, ValueError):
                _signal((await starting).pid, signal.SIGKILL)
            raise

    async def _end_group(self, process: Process) -> None:
        """End whatever is left of the group: ask first, and insist after the grace, or at once when asked to hurry."""
        group = process.pid  # it leads a session of its own, so the group bears its number
        try:
            if not _signal(group, signal.SIGTERM):
                return
            deadline = asyncio.get_running_loop().time() + self._limits.grace_s
            while _signal(group, 0) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            _signal(group, signal.SIGKILL)


class _Kept(asyncio.Protocol):
    """Reader of a pipe that keeps the start and the end of the output.

    Attributes:
        ended: Done when no process holds the other end any more.
    """

    def __init__(self, limit: int) -> None:
        self._half = max(limit // 2, 1)
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0
        self._transport: asyncio.BaseTransport | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self) -> int:
        """Make the pipe; return the end to write to."""
        reading, writing = os.pipe()
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_read_pipe(lambda: self, os.fdopen(reading, "rb", buffering=0))
        return writing

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    @property
    def truncated(self) -> bool:
        """True where a part was left out."""
        return self._left_out > 0

    def text(self) -> str:
        """Return the kept bytes as text; those that are no UTF-8 become replacement characters."""
        if not self._left_out:
            return (self._head + self._tail).decode(errors="replace")
        middle = f"\n[{self._left_out:,} bytes left out]\n"
        return self._head.decode(errors="replace") + middle + self._tail.decode(errors="replace")

    def data_received(self, data: bytes) -> None:
        """See base class."""
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        over = len(self._tail) - self._half
        if over > 0:
            del self._tail[:over]
            self._left_out += over

    def connection_lost(self, exc: Exception | None) -> None:
        """See base class."""
        if not self.ended.done():
            self.ended.set_result(None)


def _signal(group: int, number: int) -> bool:
    """Signal a process group; False where none of it is left."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


@dataclass(frozen=True)
class _Account:
    uid: int
    gid: int
    name: str | None
    home: str | None

    def identity(self) -> dict[str, Any]:
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def variables(self) -> dict[str, str]:
        named = {"HOME": self.home, "LOGNAME": self.name, "USER": self.name}
        return {name: value for name, value in named.items() if value is not None}


def _account(user: str | int) -> _Account:
    """Look up a user on this machine; a number needs no entry there.

    Raises:
        LookupError: There is no user of that name.
    """
    import pwd  # noqa: PLC0415 - Windows has none, where definitions are imported too

    try:
        found = pwd.getpwnam(user) if isinstance(user, str) else pwd.getpwuid(user)
    except KeyError:
        if isinstance(user, str):
            raise LookupError(f"there is no user {user!r} on the worker's machine") from None
        return _Account(user, user, None, None)
    return _Account(found.pw_uid, found.pw_gid, found.pw_name, found.pw_dir)


def _environment(wanted: Sequence[str] | Mapping[str, str] | None, account: _Account | None) -> Mapping[str, str]:
    if isinstance(wanted, Mapping):
        return wanted
    names = PASSED_ON if wanted is None else wanted
    own = {name: os.environ[name] for name in names if name in os.environ}
    theirs = {} if account is None else account.variables()
    return own | {name: value for name, value in theirs.items() if name in names}


@functools.cache
def _hide_from_commands() -> None:
    """Make this process unreadable to commands, once, where the system can.

    A process that is not dumpable has files under /proc that only root may read. Root reads them all the same: so the
    variables that the process was started with also leave the memory that ``environ`` there shows. They stay in
    `os.environ` and for C libraries, which get copies.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    start, end = (int(field) for field in Path("/proc/self/stat").read_text().rpartition(")")[2].split()[47:49])
    if 0 < start < end:
        for name, value in os.environ.items():
            os.environ[name] = value  # has the C library make a copy, and point to that
        ctypes.memset(start, 0, end - start)


def _check_run(subject: str, cwd: object, pauses: Mapping[str, object]) -> None:
    if cwd is not None and not isinstance(cwd, str | Path):
        raise DefinitionError(subject, f"cwd must be a path or None, not {a_kind(cwd)}")
    for option, pause in pauses.items():
        check_duration(subject, option, pause, most=LONGEST_RUN)


def _check_user(subject: str, user: object) -> None:
    named = isinstance(user, str) and bool(user)
    numbered = isinstance(user, int) and not isinstance(user, bool) and user >= 0
    if user is not None and not named and not numbered:
        raise DefinitionError(subject, "user must be the name or the number of a user, or None")


def _check_bounds(subject: str, environment: object, max_output_bytes: object) -> None:
    texts = [*environment, *environment.values()] if isinstance(environment, Mapping) else environment
    listed = isinstance(texts, Sequence) and not isinstance(texts, str) and all(isinstance(each, str) for each in texts)
    if environment is not None and not listed:
        raise DefinitionError(
            subject, f"environment must be a list of names, or a mapping of texts to texts, not {a_kind(environment)}"
        )
    check_count(subject, "max_output_bytes", max_output_bytes, most=MOST_OUTPUT_BYTES)
