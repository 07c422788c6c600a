"""The command line as a process of its own, against a real server: `Cli`, and the fixtures that make one."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from handfast.server import EmbeddedServer
from support.warm_commands import Process, WarmCommands

DEADLINE_S = 60.0


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout; fails where there is more, or none."""
        return json.loads(self.out)

    @property
    def line(self) -> str:
        """The one line on stderr, which is never a traceback."""
        [line] = self.err.splitlines()
        assert "Traceback" not in line
        assert line.startswith("handfast: ")
        return line.removeprefix("handfast: ")


class Cli:
    """Starts commands in a folder of their own, without a key for OpenAI and without anybody's settings."""

    def __init__(self, directory: Path, environment: dict[str, str], warm: WarmCommands, stack: AsyncExitStack) -> None:
        """Remember where and how."""
        self.directory = directory
        self.environment = environment
        self._warm = warm
        self._stack = stack

    def with_(self, environment: dict[str, str]) -> Cli:
        """The same with further variables."""
        return Cli(self.directory, {**self.environment, **environment}, self._warm, self._stack)

    def in_(self, folder: str) -> Cli:
        """The same in a folder below."""
        return Cli(self.directory / folder, self.environment, self._warm, self._stack)

    async def start(
        self,
        *arguments: str,
        stdin: int = asyncio.subprocess.DEVNULL,
        stdout: int = asyncio.subprocess.PIPE,
        stderr: int = asyncio.subprocess.PIPE,
    ) -> Process:
        """Start a command, and go on while it runs. It is killed at the end of the test if it still does."""
        where, variables = self.directory, self.environment
        process: Process
        if self._warm.fits(variables):
            process = await self._warm.start(
                *arguments, cwd=where, env=variables, stdin=stdin, stdout=stdout, stderr=stderr
            )
        else:
            line = (sys.executable, "-m", "handfast", *arguments)
            process = await asyncio.create_subprocess_exec(
                *line, cwd=where, env=variables, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
            )
        self._stack.push_async_callback(_end, process)
        return process

    async def __call__(self, *arguments: str, stdin: str | None = None, **environment: str) -> Finished:
        """Run a command to its end."""
        pipe = asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE
        process = await self.with_(environment).start(*arguments, stdin=pipe)
        return await finish(process, stdin)


async def finish(process: Process, stdin: str | None = None) -> Finished:
    """Wait for a command's end."""
    async with asyncio.timeout(DEADLINE_S):
        out, err = await process.communicate(stdin.encode() if stdin is not None else None)
    assert process.returncode is not None
    return Finished(process.returncode, (out or b"").decode(), (err or b"").decode())


async def line_with(stream: asyncio.StreamReader | None, words: str) -> str:
    """Read until a line holds *words*."""
    assert stream is not None
    async with asyncio.timeout(DEADLINE_S):
        while line := (await stream.readline()).decode():
            if words in line:
                return line
    raise AssertionError(f"the output ended without {words!r}")


async def said(process: Process, words: str) -> str:
    """Read the output of a command until a line holds *words*; a command that ends before shows its errors."""
    try:
        return await line_with(process.stdout, words)
    except AssertionError as error:
        if process.stderr is not None:
            error.add_note((await process.stderr.read()).decode())
        raise


async def exists(path: Path) -> None:
    """Wait until another process has made a file."""
    give_up_at = asyncio.get_running_loop().time() + DEADLINE_S
    while not path.exists():  # noqa: ASYNC240 another process makes it: a file is all that we have of that
        assert asyncio.get_running_loop().time() < give_up_at, f"{path.name} was never made"
        await asyncio.sleep(0.01)


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.communicate()


MakeCli = Callable[..., Cli]


DESK = '''
"""Agents for a worker process."""

import asyncio
import os
from pathlib import Path

from handfast import Agent, tool


@tool(approval=True)
async def wipe(target: str) -> str:
    """Delete a target."""
    return f"wiped {target}"


@tool()
async def slow() -> str:
    """Say that it began, wait until it may end, and count."""
    here = Path(os.environ["EFFECTS"])
    (here / "begun").touch()
    while not (here / "go").exists():
        await asyncio.sleep(0.02)
    with (here / "effects").open("a") as effects:
        effects.write("slow\\n")
    return "slow and done"


desk = Agent("desk", instructions="Help.", model="m", tools=[wipe, slow])
'''


def nobodys_variables() -> dict[str, str]:
    """The environment, without anybody's settings and keys."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "HANDFAST_"))}
    for name in ("OPENAI_API_KEY", "FORCE_COLOR", "COLUMNS"):
        kept.pop(name, None)
    return {**kept, "PYTHONWARNINGS": "error"}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def warm_commands(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WarmCommands]:
    """What forks commands."""
    async with WarmCommands(tmp_path_factory.mktemp("commands"), nobodys_variables()) as commands:
        yield commands


@pytest_asyncio.fixture(loop_scope="session")
async def make_cli(tmp_path: Path, warm_commands: WarmCommands) -> AsyncIterator[MakeCli]:
    """Make command lines for any address."""
    kept = nobodys_variables()
    (tmp_path / "desk_agents.py").write_text(DESK)
    async with AsyncExitStack() as stack:

        def make(address: str | None, **environment: str) -> Cli:
            where = {"TEMPORAL_ADDRESS": address} if address is not None else {}
            nobody = {"TEMPORAL_CONFIG_FILE": str(tmp_path / "no-profiles.toml")}
            return Cli(tmp_path, {**kept, **nobody, **where, **environment}, warm_commands, stack)

        yield make


@pytest.fixture
def cli(make_cli: MakeCli, server: EmbeddedServer) -> Cli:
    """A command line for the session's server."""
    return make_cli(server.address)
