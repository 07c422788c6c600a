"""`worker` and `dev`: ready when they say so, drained when they are told to stop."""

from __future__ import annotations

import json
import re
import signal
import uuid
from contextlib import AsyncExitStack
from pathlib import Path

from handfast import Handfast
from handfast.cli import exits
from handfast.errors import PortBusyError
from handfast.server import DEFAULT_PORT, EmbeddedServer
from handfast.testing import Reply, ResponsesServer, call, text
from support.command_desk import with_model
from support.commands import Cli, MakeCli, exists, finish, line_with, said

DONE = Reply(text("all done"))


async def test_sigterm_lets_a_running_tool_finish(cli: Cli, server: EmbeddedServer) -> None:
    """A worker that is told to stop in the middle of a tool lets it finish: one effect, code 0."""
    queue = f"drain-{uuid.uuid4().hex[:8]}"
    async with ResponsesServer([Reply(call("slow", {}, "c1")), DONE]) as model:
        here = with_model(cli, model)
        worker = await here.start("worker", "desk_agents", "--task-queue", queue)
        ready = await said(worker, "ready")
        assert ready == f"ready: worker for desk on task queue {queue} at {server.address}\n"
        run = await (await Handfast.connect(server.address, task_queue=queue)).start("desk", "go")
        await exists(cli.directory / "begun")
        worker.send_signal(signal.SIGTERM)
        (cli.directory / "go").touch()
        assert (await finish(worker)).code == exits.OK
        next_worker = await here.start("worker", "desk_agents", "--task-queue", queue)
        assert (await run.result()).output == "all done"
        assert (cli.directory / "effects").read_text() == "slow\n"
        next_worker.send_signal(signal.SIGINT)
        assert (await finish(next_worker)).code == exits.OK


COUNTING = """
import gc
from handfast import Agent, tool

@tool(effect="read_only")
def spared() -> int:
    \"\"\"Count what collections leave alone.\"\"\"
    return gc.get_freeze_count()

agents = [Agent("counter", instructions="Count.", model="m", tools=[spared])]
"""


async def test_collections_of_a_worker_spare_what_it_imported(cli: Cli, server: EmbeddedServer) -> None:
    """The garbage collector of `handfast worker` does not look at modules again in the middle of workflow tasks."""
    queue = f"spared-{uuid.uuid4().hex[:8]}"
    (cli.directory / "counting.py").write_text(COUNTING)
    async with ResponsesServer([Reply(call("spared", {}, "c1")), DONE]) as model:
        worker = await with_model(cli, model).start("worker", "counting", "--task-queue", queue)
        await line_with(worker.stdout, "ready")
        run = await (await Handfast.connect(server.address, task_queue=queue)).start("counter", "go")
        assert (await run.result()).output == "all done"
        [output] = [each["output"] for each in model.requests[1].body["input"] if "output" in each]
        assert int(output) > 50_000
        worker.send_signal(signal.SIGTERM)
        assert (await finish(worker)).code == exits.OK


async def test_a_worker_is_ready_for_programs_too(cli: Cli) -> None:
    """With --json `worker` writes one document once it polls, with agents, queue and address."""
    worker = await cli.with_({"OPENAI_API_KEY": "test", "HANDFAST_TASK_QUEUE": "from-env"}).start(
        "worker", "desk_agents:desk", "--json"
    )
    await said(worker, '"ready": true')
    worker.send_signal(signal.SIGTERM)
    finished = await finish(worker)
    assert finished.code == exits.OK
    assert '"desk"' in finished.out
    assert "from-env" in finished.out


async def test_a_worker_in_a_missing_namespace_says_so(cli: Cli) -> None:
    """A worker whose namespace does not exist leaves with 8 and the reason, and never says that it is ready."""
    finished = await cli("worker", "desk_agents", "--namespace", "nowhere", OPENAI_API_KEY="test")
    assert (finished.code, finished.out) == (exits.NOT_SET_UP, "")
    # The SDK's own threads may warn of it after our line.
    [line] = [each for each in finished.err.splitlines() if each.startswith("handfast: ")]
    assert "Namespace nowhere is not found" in line
    assert "Traceback" not in finished.err


async def test_dev_serves_and_a_second_one_attaches(make_cli: MakeCli) -> None:
    """`dev AGENTS` starts server and worker and prints the page's address; other commands find it."""
    cli = make_cli(None)
    async with ResponsesServer([DONE]) as model:
        here = with_model(cli, model)
        first = await here.start("dev", "desk_agents", "--port", "0")
        page = await said(first, "Temporal's page")
        assert re.search(r"http://\S+:\d+", page)
        ready = await said(first, "ready")
        address = ready.split()[-1]
        assert (cli.directory / ".handfast" / "temporal.db").exists()
        second = await cli("dev", "--json")
        assert second.code == exits.OK
        assert (second.document["server"], second.document["address"]) == ("attached", address)
        answered = await cli("start", "desk", "hello")
        assert (answered.code, answered.out) == (exits.OK, "all done\n")
        first.send_signal(signal.SIGTERM)
        assert (await finish(first)).code == exits.OK
    gone = await cli("runs", "--address", address)
    assert gone.code == exits.NO_SERVER


async def test_dev_without_agents_serves_until_ctrl_c(make_cli: MakeCli) -> None:
    """`dev` alone runs the server until Ctrl-C, which ends it in order and with 0; a busy port is one line."""
    cli = make_cli(None)
    dev = await cli.start("dev", "--port", "0")
    address = (await said(dev, "ready")).split()[-1]
    busy = make_cli(None)
    (cli.directory / "elsewhere").mkdir()
    busy.directory = cli.directory / "elsewhere"
    refused = await busy("dev", "--port", address.rpartition(":")[2])
    assert refused.code == exits.NO_SERVER
    assert "--port" in refused.line
    dev.send_signal(signal.SIGINT)
    finished = await finish(dev)
    assert (finished.code, finished.err) == (exits.OK, "")
    state = cli.directory / ".handfast" / "server.json"
    assert not state.exists(), json.loads(state.read_text())


async def test_dev_beside_another_projects_server_takes_a_free_port(make_cli: MakeCli, tmp_path: Path) -> None:
    """The usual port is another project's: `dev` says whose, and takes a free one; commands go to this folder's."""
    shop = (tmp_path / "shop").resolve()
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(await EmbeddedServer.start(shop / ".handfast", DEFAULT_PORT, ui=False))
            holder = f"the server of {shop}"
        except PortBusyError:  # whoever else works on this machine
            holder = ""
        cli = make_cli(None)
        dev = await cli.start("dev")
        note = await line_with(dev.stderr, f"port {DEFAULT_PORT} belongs to {holder}")
        address = (await said(dev, "ready")).split()[-1]
        assert address in note
        assert not address.endswith(f":{DEFAULT_PORT}")
        listed = await cli("runs")
        assert (listed.code, listed.out) == (exits.OK, "no runs\n")
        dev.send_signal(signal.SIGTERM)
        assert (await finish(dev)).code == exits.OK
