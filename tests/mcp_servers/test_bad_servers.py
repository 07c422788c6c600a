"""Servers that do what they must not: one clear sentence each, the run goes on, and nothing is executed twice."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from handfast import Agent, McpServer, Run
from handfast.definitions.agents.registry import Registry
from handfast.errors import DefinitionError, McpUnavailableError
from handfast.mcp.connection import Connection
from handfast.testing import Lab, Reply, call, text
from handfast.worker.options import check_extra
from support.desk import outputs
from support.labs import MakeLab

CROOKED: Final = Path(__file__).parents[1] / "support" / "mcp" / "crooked.py"
DONE = Reply(text("done"))
LOOK = Reply(call("look", {}, "c1"))


def crooked(fault: str, *arguments: str, **options: Any) -> McpServer:
    """A server with a fault."""
    return McpServer.stdio("crooked", sys.executable, str(CROOKED), fault, *arguments, **options)


async def listed(connection: Connection) -> list[Any]:
    """Start a server and list its tools."""
    await connection.start({})
    return await connection.tools()


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        pytest.param(
            crooked("hangs", start_within=timedelta(seconds=1)), "did not answer within 1 s", id="hangs-at-its-start"
        ),
        pytest.param(crooked("ends"), "ended at its start: no licence was found", id="ends-at-its-start"),
        pytest.param(
            McpServer.stdio("crooked", "no-such-program"),
            "could not be started: No such file or directory: no-such-program",
            id="no-such-program",
        ),
        pytest.param(
            McpServer.http("crooked", "http://127.0.0.1:9/mcp"), "cannot be reached: ConnectError", id="nobody-there"
        ),
        pytest.param(crooked("endless_list"), "or a list without end", id="lists-without-end"),
    ],
)
async def test_a_server_that_cannot_be_used_is_named_in_one_sentence(server: McpServer, problem: str) -> None:
    """Name of the server and what is wrong with it; its own last words where it has said some."""
    connection = Connection(server)
    try:
        with pytest.raises(McpUnavailableError) as raised:
            await listed(connection)
    finally:
        await connection.close()
    assert str(raised.value).startswith("the MCP server crooked ")
    assert problem in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("fault", "offered", "warning"),
    [
        pytest.param("noise", ["look"], "sends what is no message, on its stdout perhaps", id="writes-to-stdout"),
        pytest.param("twins", ["look"], "twin is not offered: 2 tools of it are called twin", id="two-of-one-name"),
        pytest.param("alike", ["look"], "a.b is not offered: 2 tools of it are called a_b", id="two-spelled-alike"),
        pytest.param("schemas", ["look"], "bad_0 is not offered: inputSchema.type: Input", id="no-object-schema"),
        pytest.param("schemas", ["look"], "bad_1 is not offered: its schema is none: ", id="no-json-schema"),
        pytest.param("nonsense", ["look"], "one without a name is not offered: ", id="no-tool-at-all"),
        pytest.param("huge_definition", ["look"], "huge is not offered: its definition has 100,", id="huge-definition"),
    ],
)
async def test_what_cannot_be_offered_is_left_out_with_a_warning(
    make_lab: MakeLab, caplog: pytest.LogCaptureFixture, fault: str, offered: list[str], warning: str
) -> None:
    """The rest of the server is used; the log says what is missing, and why."""
    lab = await make_lab([Agent("desk", model="m", mcp=[crooked(fault)])], script=[LOOK, DONE])
    with caplog.at_level(logging.WARNING, "handfast.mcp"):
        assert (await (await lab.start("desk")).result()).output == "done"
    assert [each["name"] for each in lab.model.requests[0].body["tools"]] == offered
    assert outputs(lab) == [("c1", "fine")]
    said = [record.getMessage() for record in caplog.records if record.name == "handfast.mcp"]
    assert len([line for line in said if warning in line]) == 1


async def test_three_hundred_tools_are_offered_as_far_as_the_model_takes_them(
    make_lab: MakeLab, caplog: pytest.LogCaptureFixture
) -> None:
    """The first ones go, one warning says how many do not, and ``tools=`` chooses others."""
    many = Agent("many", model="m", mcp=[crooked("many")])
    chosen: Any = {"tools": ["tool_299"], "prefix": "x_"}
    few = Agent("few", model="m", mcp=[McpServer.stdio("few", sys.executable, str(CROOKED), "many", **chosen)])
    lab = await make_lab([many, few], script=[DONE, DONE])
    with caplog.at_level(logging.WARNING, "handfast.mcp"):
        await (await lab.start("many")).result()
        await (await lab.start("few")).result()
    sent = [[each["name"] for each in request.body["tools"]] for request in lab.model.requests]
    assert sent == [[f"tool_{place}" for place in range(128)], ["x_tool_299"]]
    said = [record.getMessage() for record in caplog.records if "172 tools" in record.getMessage()]
    assert len(said) == 1


async def test_a_large_result_is_cut_like_any_other(make_lab: MakeLab) -> None:
    """Of 5 MB the model reads the start, and how much there was."""
    lab = await make_lab([Agent("desk", model="m", mcp=[crooked("large")])], script=[LOOK, DONE])
    assert (await (await lab.start("desk")).result()).output == "done"
    [(_, output)] = outputs(lab)
    assert len(output) < 300_000
    assert "[cut: 5,000,000 bytes in all" in output


async def test_a_result_in_another_form_is_told(make_lab: MakeLab) -> None:
    """A result that is none is told to the model in a sentence; the call is not made again."""
    lab = await make_lab([Agent("desk", model="m", mcp=[crooked("no_result")])], script=[LOOK, DONE])
    assert (await (await lab.start("desk")).result()).output == "done"
    [(_, output)] = outputs(lab)
    assert output.startswith("Error: the MCP server crooked has answered, and its result has another form")


@pytest.mark.parametrize(
    ("options", "calls"),
    [
        pytest.param({}, 2, id="read-only-is-called-again"),
        pytest.param({"effect": "at_most_once", "approval": False}, 1, id="at-most-once-is-not"),
    ],
)
async def test_a_server_that_dies_in_a_call(make_lab: MakeLab, tmp_path: Path, options: Any, calls: int) -> None:
    """What may be repeated is, on a new process; what may not is called once, and its outcome is unknown."""
    log = tmp_path / "calls"
    agent = Agent("desk", model="m", mcp=[crooked("dies_once", str(log), **options)])
    lab = await make_lab([agent], script=[LOOK, DONE])
    assert (await (await lab.start("desk")).result()).output == "done"
    assert log.read_text().splitlines() == ["look"] * calls
    [(_, output)] = outputs(lab)
    assert output == "fine" if calls == 2 else "The outcome of this call is unknown" in output


async def test_a_server_that_is_not_required_may_be_missing(make_lab: MakeLab) -> None:
    """The model is asked without its tools."""
    server = McpServer.stdio("gone", "no-such-program", required=False)
    lab = await make_lab([Agent("desk", model="m", mcp=[server])], script=[DONE])
    assert (await (await lab.start("desk")).result()).output == "done"
    assert lab.model.requests[0].body.get("tools", []) == []


async def test_a_run_waits_for_a_server_that_is_required(make_lab: MakeLab, tmp_path: Path) -> None:
    """While it cannot be started the model is not asked; once it can, the run goes on by itself."""
    program = tmp_path / "server.py"
    server = McpServer.stdio("late", sys.executable, str(program), "fine")
    lab = await make_lab([Agent("desk", model="m", mcp=[server])], script=[LOOK, DONE])
    run = await lab.start("desk")
    async with asyncio.timeout(30):
        while not (failed := await _last_failure(lab, run)):  # noqa: ASYNC110 - a try that fails is no event
            await asyncio.sleep(0.1)
    assert failed.startswith("the MCP server late ended at its start: ")
    assert "No such file or directory" in failed
    assert lab.model.requests == []
    shutil.copy(CROOKED, program)
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", "fine")]


async def _last_failure(lab: Lab, run: Run) -> str:
    described = await lab.client.get_workflow_handle(run.id).describe()
    return "".join(each.last_failure.message for each in described.raw_description.pending_activities)


def test_servers_need_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose agents have MCP servers does not start without the package, and says what to install."""
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(DefinitionError, match=r"need the extra mcp: pip install 'handfast\[mcp\]'"):
        check_extra(Registry([Agent("desk", model="m", mcp=[crooked("fine")])]))
