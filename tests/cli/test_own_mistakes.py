"""What `dev` and `worker` show of mistakes in the code that they serve."""

from __future__ import annotations

import signal
import uuid

import pytest

from handfast import Handfast
from handfast.cli import exits
from handfast.server import EmbeddedServer
from handfast.testing import Reply, ResponsesServer, call, text
from support.command_desk import with_model
from support.commands import Cli, MakeCli, finish, said

SHOP = '''
"""An agent whose tool has a bug."""

from handfast import Agent, tool


def price(order: str) -> int:
    """Look a price up."""
    raise ValueError(f"no price for {order}")


@tool
def charge(order: str) -> int:
    """Charge an order."""
    return price(order)


shop = Agent("shop", instructions="Help.", model="m", tools=[charge])
'''
SCRIPT = [Reply(call("charge", {"order": "o-7"}, "c1")), Reply(text("it failed"))]


async def test_dev_shows_an_exception_with_its_traceback_and_message(make_cli: MakeCli) -> None:
    """`dev` prints what a tool raised where it happens, as Python does: your frames, then the exception's message."""
    cli = make_cli(None)
    (cli.directory / "shop.py").write_text(SHOP)
    async with ResponsesServer(SCRIPT) as model:
        here = with_model(cli, model)
        dev = await here.start("dev", "shop", "--port", "0")
        await said(dev, "ready")
        started = await here("start", "shop", "hello")
        assert started.code == exits.OK
        dev.send_signal(signal.SIGTERM)
        err = (await finish(dev)).err
    [line] = [each for each in err.splitlines() if "the tool charge raised ValueError" in each]
    assert "agent shop, turn 1, tool charge, run shop-" in line
    trace = err[err.index("Traceback (most recent call last):") :].splitlines()
    assert trace[:6] == [
        "Traceback (most recent call last):",
        f'  File "{cli.directory / "shop.py"}", line 15, in charge',
        "    return price(order)",
        "           ^^^^^^^^^^^^",
        f'  File "{cli.directory / "shop.py"}", line 9, in price',
        '    raise ValueError(f"no price for {order}")',
    ]
    assert trace[6:] == ["ValueError: no price for o-7"]
    assert "site-packages" not in err
    assert "src/handfast" not in err


async def test_a_worker_shows_frames_and_no_message(cli: Cli, server: EmbeddedServer) -> None:
    """`worker` prints the same without what the exception says, unless HANDFAST_LOG_TEXTS says so."""
    (cli.directory / "shop.py").write_text(SHOP)
    for texts, last in (("", "ValueError"), ("own", "ValueError: no price for o-7")):
        queue = f"shop-{uuid.uuid4().hex[:8]}"
        async with ResponsesServer(SCRIPT) as model:
            here = with_model(cli, model).with_({"HANDFAST_LOG_TEXTS": texts} if texts else {})
            worker = await here.start("worker", "shop", "--task-queue", queue)
            await said(worker, "ready")
            run = await (await Handfast.connect(server.address, task_queue=queue)).start("shop", "go")
            assert (await run.result()).output == "it failed"
            worker.send_signal(signal.SIGTERM)
            err = (await finish(worker)).err
        assert err.splitlines()[-1] == last
        assert f'  File "{cli.directory / "shop.py"}", line 9, in price' in err.splitlines()


@pytest.mark.parametrize(
    ("source", "line", "said"),
    [
        pytest.param("import os\n\n\ndef broken(:\n    pass\n", 4, "SyntaxError: invalid syntax", id="syntax"),
        pytest.param("import os\n\nagents = nobody\n", 3, "NameError: name 'nobody' is not defined", id="name"),
        pytest.param("import os\nimport nowhere_at_all\n", 2, "ModuleNotFoundError: No module", id="import"),
        pytest.param(
            'from handfast import Agent\n\nAgent("", model="m")\n', 3, "DefinitionError: agent ''", id="definition"
        ),
    ],
)
@pytest.mark.parametrize("command", ["dev", "worker"])
async def test_a_module_that_cannot_be_imported_is_named_with_its_line(
    make_cli: MakeCli, *, command: str, source: str, line: int, said: str
) -> None:
    """Where your module cannot be imported, one line names the file and the line of your mistake."""
    cli = make_cli(None)
    (cli.directory / "shop.py").write_text(source)
    (cli.directory / "agents.py").write_text("from shop import *\n")
    for target in ("shop", "agents"):
        finished = await cli(command, target, OPENAI_API_KEY="test")
        assert finished.code == exits.BAD_INPUT
        where = f"{cli.directory / 'shop.py'}, line {line}"
        assert finished.line.startswith(f"{target}: importing it failed at {where}: {said}")
