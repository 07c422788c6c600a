"""`[tool.handfast]`: what `dev` and `worker` serve in a folder, and who plays the model there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from temporalio.client import Client

from handfast import Handfast
from handfast.cli import exits
from handfast.cli.init import rendered
from handfast.server import EmbeddedServer
from handfast.testing import Reply, ResponsesServer, call, text
from support.commands import Cli, MakeCli, finish, said

ROOT = Path(__file__).resolve().parents[2]
REFUND = Reply(call("refund", {"order": 8, "amount": 48.0}))
DONE = Reply(text("all done"))
OWN_CLIENT = """
import os

from handfast import Agent, HandfastPlugin
from openai import AsyncOpenAI

models = {"default": AsyncOpenAI(base_url=os.environ["OWN_URL"], api_key="own")}
plugin = HandfastPlugin([Agent("desk", model="m")], models=models)
"""


def write_application(folder: Path, name: str = "shop") -> None:
    """Write a new application's files into *folder*."""
    for path, content in rendered(name, name.replace("-", "_")).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)


def with_key(cli: Cli, model: ResponsesServer) -> Cli:
    """The same command line with a key, for a scripted model."""
    return cli.with_({"OPENAI_API_KEY": "test", "OPENAI_BASE_URL": model.base_url})


async def test_with_a_key_nothing_is_started_that_is_paid_for(make_cli: MakeCli) -> None:
    """With a key `dev` asks the real model, and says how to start the first run instead of starting it."""
    cli = make_cli(None)
    write_application(cli.directory)
    async with ResponsesServer([DONE]) as model:
        here = with_key(cli, model)
        dev = await here.start("dev", "--port", "0")
        await said(dev, "Temporal server: ")
        suggested = await said(dev, "start a run with")
        assert suggested.endswith("handfast start shop 'The mug of order 7 arrived broken. Please refund it.'\n")
        assert (await here("runs", "--json")).document == []
        assert model.requests == []
        assert (await here("start", "shop", "hello")).out == "all done\n"
        dev.send_signal(signal.SIGTERM)
        assert (await finish(dev)).code == exits.OK


async def test_programs_start_their_own_runs(make_cli: MakeCli) -> None:
    """With --json `dev` writes one document, which says that a script is the model, and starts nothing by itself."""
    cli = make_cli(None)
    write_application(cli.directory)
    dev = await cli.start("dev", "--port", "0", "--json")
    lines = []
    while (line := await said(dev, "")) != "}\n":
        lines.append(line)
    told = json.loads("".join([*lines, "}"]))
    assert (told["agents"], told["workflows"], told["model"]) == (["shop"], ["Ticket"], "script")
    assert (await cli("runs", "--json")).document == []
    waiting = await cli("start", "shop", "refund it", "--no-ask", "--json")
    assert (waiting.code, waiting.document["pending"][0]["tool"]) == (exits.WAITS, "refund")
    dev.send_signal(signal.SIGTERM)
    finished = await finish(dev)
    assert (finished.code, finished.out) == (exits.OK, "")


async def test_a_module_on_the_command_line_is_served_alone(make_cli: MakeCli) -> None:
    """Who names a module gets that module: no script, so that without a key nothing is started."""
    cli = make_cli(None)
    write_application(cli.directory)
    refused = await cli("dev", "shop", "--port", "0")
    assert refused.code == exits.BAD_INPUT
    assert "set OPENAI_API_KEY" in refused.line
    assert not (cli.directory / ".handfast").exists()


async def test_a_client_of_its_own_is_no_script(make_cli: MakeCli) -> None:
    """An application whose plugin brings its model clients is not said to be scripted, and asks those."""
    cli = make_cli(None)
    write_application(cli.directory)
    (cli.directory / "shop.py").write_text(OWN_CLIENT)
    async with ResponsesServer([DONE]) as model:
        here = cli.with_({"OWN_URL": model.base_url})
        dev = await here.start("dev", "--port", "0")
        await said(dev, "Temporal server: ")
        await said(dev, "start a run with")
        assert (await here("start", "desk", "hello")).out == "all done\n"
        dev.send_signal(signal.SIGTERM)
        assert (await finish(dev)).code == exits.OK


async def test_a_worker_serves_agents_and_workflows(cli: Cli, server: EmbeddedServer) -> None:
    """`worker` without a module serves the application: a workflow of it runs an agent of it."""
    write_application(cli.directory)
    queue = f"application-{uuid.uuid4().hex[:8]}"
    async with ResponsesServer([REFUND, DONE]) as model:
        worker = await with_key(cli, model).start("worker", "--task-queue", queue)
        await said(worker, "ready: worker for shop")
        client = await Client.connect(server.address)
        handle = await client.start_workflow("Ticket", "Refund order 8", id=queue, task_queue=queue, result_type=str)
        run = Handfast(client).run(queue)
        async for request in run.requests():
            await run.approve(request, decided_by="lead")
            break
        assert await handle.result() == "all done"
        assert model.violations == []
        worker.send_signal(signal.SIGTERM)
        assert (await finish(worker)).code == exits.OK
    assert len((cli.directory / "refunds.jsonl").read_text().splitlines()) == 1


TABLE = '[tool.handfast]\nagents = "shop:plugin"\n'


@pytest.mark.parametrize(
    ("project", "words"),
    [
        pytest.param("[tool.handfast", "pyproject.toml cannot be read", id="broken-toml"),
        pytest.param("[tool.handfast]\n", "agents: Field required", id="no-agents"),
        pytest.param(f'{TABLE}scirpt = "x"\n', "scirpt: Extra inputs", id="unknown-key"),
        pytest.param(f"{TABLE}workflows = 7\n", "workflows: Input should be", id="wrong-type"),
        pytest.param(f'{TABLE}first_run = {{agent = "a", input = "b"}}\n', "needs a script", id="run-without-script"),
        pytest.param(f'{TABLE}script = "none.json"\n', "none.json cannot be read", id="missing-script"),
        pytest.param(f'{TABLE}script = "pyproject.toml"\n', "not a script", id="no-script"),
        pytest.param('[tool.handfast]\nagents = "nowhere"\n', "there is no module nowhere", id="missing-module"),
        pytest.param(
            f'{TABLE}script = "script.json"\nworkflows = ["workflows.ticket:Nothing"]\n',
            "workflows.ticket:Nothing: it is no workflow",
            id="no-workflow",
        ),
        pytest.param(
            f'{TABLE}script = "script.json"\nworkflows = ["workflows.nothing:Ticket"]\n',
            "workflows.nothing:Ticket: importing it failed",
            id="missing-workflow",
        ),
    ],
)
async def test_a_table_that_cannot_be_used_is_one_line(make_cli: MakeCli, project: str, words: str) -> None:
    """What is wrong in `[tool.handfast]` is said in one line, and no server is started."""
    cli = make_cli(None)
    write_application(cli.directory)
    (cli.directory / "pyproject.toml").write_text(project)
    refused = await cli("dev", "--port", "0")
    assert (refused.code, refused.out) == (exits.BAD_INPUT, "")
    assert words in refused.line
    assert not (cli.directory / ".handfast").exists()


@pytest.mark.parametrize("project", [None, "", "tool = 7", "[tool.other]\n"], ids=["none", "empty", "odd", "others"])
async def test_a_worker_with_nothing_to_serve_says_so(make_cli: MakeCli, project: str | None) -> None:
    """`worker` in a folder that names no agents leaves with 2, and says both ways to name some."""
    cli = make_cli(None)
    if project is not None:
        (cli.directory / "pyproject.toml").write_text(project)
    refused = await cli("worker")
    assert refused.code == exits.BAD_INPUT
    assert refused.line == "name MODULE[:NAME], or write it as agents under [tool.handfast] in pyproject.toml"


def check_with(folder: Path, tool: str, *options: str) -> None:
    """Let a tool that checks code look at *folder*, with the settings there."""
    line = [sys.executable, "-m", tool, *options, "."]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


@pytest.mark.parametrize("name", ["desk", "zebra-2", "a", "d" * 40])
def test_what_init_writes_is_tidy(tmp_path: Path, name: str) -> None:
    """Whatever its name, a new application passes ruff and its formatter."""
    write_application(tmp_path, name)
    check_with(tmp_path, "ruff", "check", "--no-cache")
    check_with(tmp_path, "ruff", "format", "--check", "--no-cache")


def test_what_init_writes_is_typed(tmp_path: Path) -> None:
    """A new application passes mypy with our own, stricter settings, tests included."""
    write_application(tmp_path)
    known = ("--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache"))  # of `make check`
    check_with(tmp_path, "mypy", "--strict", *known)
