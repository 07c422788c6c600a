"""How a command leaves: closed pipes and Ctrl-C are silent, and no end aborts the process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from datetime import timedelta

import pytest

from handfast import Handfast, errors
from handfast.cli import exits
from handfast.server import EmbeddedServer
from handfast.temporal.namespace import ensure_namespace
from handfast.temporal.search_attributes import SEARCH_ATTRIBUTES
from support.commands import Cli, finish, line_with

TIMES = 50


async def test_a_closed_pipe_is_silent(cli: Cli) -> None:
    """XC5: a reader that goes away, as `head` does, ends a command with 141 and not a word."""
    reading, writing = os.pipe()
    os.close(reading)
    process = await cli.start("runs", "--json", stdout=writing)
    os.close(writing)
    finished = await finish(process)
    assert (finished.code, finished.err) == (exits.CLOSED_PIPE, "")


async def test_ctrl_c_is_silent_and_the_run_goes_on(cli: Cli, server: EmbeddedServer) -> None:
    """XC5: Ctrl-C ends `start` with 130 and no traceback; the run that it followed goes on."""
    process = await cli.start("start", "desk", "hello", "--id", "cli-ctrl-c", "--task-queue", "cli-nobody")
    await line_with(process.stderr, "cli-ctrl-c")
    process.send_signal(signal.SIGINT)
    finished = await finish(process)
    assert (finished.code, finished.out, finished.err) == (exits.INTERRUPTED, "", "")
    run = (await Handfast.connect(server.address)).run("cli-ctrl-c")
    assert (await run.status()).status == "running"
    await run.cancel()


async def test_fifty_commands_none_aborts(cli: Cli) -> None:
    """XC5: fifty commands against a real server, four at a time, end with 0 each; none aborts with 134."""
    turns = asyncio.Semaphore(4)

    async def one() -> int:
        async with turns:
            return (await cli("approvals", "--json")).code

    assert await asyncio.gather(*(one() for _ in range(TIMES))) == [exits.OK] * TIMES


async def test_missing_search_attributes_answer_with_the_remedy(cli: Cli, server: EmbeddedServer) -> None:
    """In a namespace without our search attributes lists leave with 8; runs start; `setup` mends it."""
    namespace = f"bare-{uuid.uuid4().hex[:8]}"
    client = (await Handfast.connect(server.address)).client
    await ensure_namespace(client, namespace, timedelta(days=3))
    for command in ("runs", "approvals"):
        finished = await cli(command, "--namespace", namespace)
        assert finished.code == exits.NOT_SET_UP
        assert "handfast setup --print" in finished.line
    started = await cli("start", "desk", "hello", "--no-wait", "--id", "bare-run", "--namespace", namespace)
    assert (started.code, started.out) == (exits.OK, "bare-run\n")
    assert (await cli("approvals", "--run", "bare-run", "--namespace", namespace)).code == exits.OK
    registered = await cli("setup", "--namespace", namespace, "--json")
    assert registered.document == {"namespace": namespace, "registered": dict(SEARCH_ATTRIBUTES)}
    assert (await cli("setup", "--namespace", namespace)).out.endswith("nothing to do\n")


async def test_setup_print_touches_nothing(cli: Cli) -> None:
    """`setup --print` needs no server: it prints one exact command for each search attribute."""
    finished = await cli("setup", "--print", "--namespace", "prod", "--address", "127.0.0.1:1")
    assert finished.code == exits.OK
    assert finished.out.splitlines() == [
        f"temporal operator search-attribute create --namespace prod --name {name} --type {kind}"
        for name, kind in SEARCH_ATTRIBUTES.items()
    ]
    document = (await cli("setup", "--print", "--json")).document
    assert document["namespace"] == "default"
    assert len(document["commands"]) == len(SEARCH_ATTRIBUTES)


async def test_without_typer_the_extra_is_named(cli: Cli) -> None:
    """Where typer or rich are not installed the command says which extra brings them."""
    for module in ("typer", "rich"):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c"),
            f"import sys; sys.modules[{module!r}] = None; from handfast.cli import main; main()",
            *("runs", "--address", "127.0.0.1:1"),
            env=cli.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        finished = await finish(process)
        assert finished.code == exits.BAD_INPUT
        assert "handfast[cli]" in finished.line


def every(kind: type[errors.HandfastError]) -> list[type[errors.HandfastError]]:
    """All errors below *kind* that Handfast's own tree holds."""
    return [found for each in kind.__subclasses__() for found in (each, *every(each))]


@pytest.mark.parametrize(
    "kind", [kind for kind in every(errors.HandfastError) if kind.__module__.startswith("handfast.errors.")]
)
def test_every_error_has_a_code(kind: type[errors.HandfastError]) -> None:
    """Each error of the library leads to a documented exit code other than that of a bug."""
    assert any(each in exits.CODES for each in kind.__mro__)
