"""`dev --reload`: what runs goes on, on the code as it is now."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest

from handfast import Handfast, Run
from handfast.cli import exits
from handfast.server.state import read_state
from handfast.temporal.pollers import WORKFLOWS, pollers
from handfast.testing import Reply, ResponsesServer, call, text
from support.command_desk import with_model
from support.commands import DEADLINE_S, Cli, MakeCli, exists, finish, line_with, said
from support.warm_commands import Process

ASKS = Reply(call("wipe", {"target": "temp"}, "c1"))
SLOW = Reply(call("slow", {}, "c1"))
DONE = Reply(text("done"))


async def serving(cli: Cli) -> tuple[Process, Handfast]:
    """`dev --reload` once it polls, and a client for it."""
    dev = await cli.start("dev", "desk_agents", "--port", "0", "--reload")
    address = (await said(dev, "ready")).split()[-1]
    return dev, await Handfast.connect(address)


def say(folder: Path, before: str, after: str) -> None:
    """Write other words into the agents' file."""
    file = folder / "desk_agents.py"
    source = file.read_text()
    assert before in source
    file.write_text(source.replace(before, after))


async def outputs(run: Run) -> list[str]:
    """What the run's tools gave to its model."""
    return [str(item["output"]) for item in await run.transcript() if item["type"] == "function_call_output"]


async def test_a_run_goes_on_with_what_was_written_meanwhile(make_cli: MakeCli) -> None:
    """A call that was asked about before a file changed runs as the file says now; a file with a mistake changes
    nothing, and the next one is served again."""
    cli = make_cli(None)
    async with ResponsesServer([ASKS, DONE]) as model:
        dev, hf = await serving(with_model(cli, model))
        run = await hf.start("desk", "go")
        request = await anext(run.requests())
        say(cli.directory, "wiped {target}", "cleaned {target")  # a bracket is missing
        kept = await line_with(dev.stderr, "the one before goes on")
        assert (
            kept == "handfast: desk_agents.py changed, and the worker does not start (code 2); the one before goes on\n"
        )
        say(cli.directory, "cleaned {target", "cleaned {target}")
        assert await said(dev, "reloaded") == "reloaded: desk_agents.py changed\n"
        await run.approve(request, decided_by="lead")
        assert (await run.result()).output == "done"
        assert await outputs(run) == ["cleaned temp"]
        dev.send_signal(signal.SIGTERM)
        assert (await finish(dev)).code == exits.OK


async def test_a_running_tool_finishes_on_the_code_that_it_began_with(make_cli: MakeCli) -> None:
    """A change while a tool is at work neither cuts nor repeats it."""
    cli = make_cli(None)
    async with ResponsesServer([SLOW, DONE]) as model:
        dev, hf = await serving(with_model(cli, model))
        run = await hf.start("desk", "go")
        await exists(cli.directory / "begun")
        say(cli.directory, "slow and done", "slow and new")
        await said(dev, "reloaded")
        (cli.directory / "go").touch()
        assert (await run.result()).output == "done"
        assert await outputs(run) == ["slow and done"]
        assert (cli.directory / "effects").read_text() == "slow\n"
        dev.send_signal(signal.SIGINT)
        assert (await finish(dev)).code == exits.OK


async def test_what_cannot_be_served_is_said_at_once(make_cli: MakeCli) -> None:
    """Without agents, or with agents that cannot be imported, nothing is started."""
    cli = make_cli(None)
    refused = await cli("dev", "--reload")
    assert (refused.code, "--reload needs agents" in refused.line) == (exits.BAD_INPUT, True)
    say(cli.directory, "wiped {target}", "cleaned {target")
    assert (await cli("dev", "desk_agents", "--reload", OPENAI_API_KEY="test")).code == exits.BAD_INPUT
    assert not (cli.directory / ".handfast" / "temporal.db").exists()


async def test_no_worker_is_left_behind(make_cli: MakeCli) -> None:
    """Where `dev --reload` is killed its worker ends by itself, so that no old code serves beside the next one."""
    cli = make_cli(None)
    async with ResponsesServer([]) as model:
        dev, hf = await serving(with_model(cli, model))
        [poller] = await pollers(hf.client, hf.task_queue, WORKFLOWS)
        server = read_state(cli.directory / ".handfast")
        assert server is not None
        dev.kill()
        await dev.wait()
        try:
            await ended(int(poller.identity.partition("@")[0]))
        finally:
            os.kill(server.pid, signal.SIGTERM)  # it stays for the next `dev`, which will not come


async def ended(pid: int) -> None:
    """Wait until a process has ended that is nobody's child here."""
    async with asyncio.timeout(DEADLINE_S):
        while _is_alive(pid):  # noqa: ASYNC110 nothing tells of the end of such a process
            await asyncio.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("folder", [".hidden", "node_modules", "venv"])
async def test_only_code_is_watched(make_cli: MakeCli, folder: str) -> None:
    """What tools write, environments and hidden folders make no worker start; code anywhere else below does."""
    cli = make_cli(None)
    async with ResponsesServer([]) as model:
        dev, _ = await serving(with_model(cli, model))
        (cli.directory / folder).mkdir()
        if folder == "venv":
            (cli.directory / folder / "pyvenv.cfg").touch()
        (cli.directory / folder / "theirs.py").touch()
        (cli.directory / "paid.json").touch()
        (cli.directory / "package").mkdir()
        (cli.directory / "package" / "ours.py").touch()
        assert await said(dev, "reloaded") == "reloaded: package/ours.py changed\n"
        dev.send_signal(signal.SIGTERM)
        assert (await finish(dev)).code == exits.OK
