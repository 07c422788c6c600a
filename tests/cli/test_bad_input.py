"""XC5 and the bad-input rows: what is wrong is said in one line, with a documented code and no traceback."""

from __future__ import annotations

import pytest

from handfast import Handfast
from handfast.cli import exits
from handfast.server import EmbeddedServer
from support.commands import Cli, MakeCli

NOWHERE = "127.0.0.1:1"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param(["shwo"], exits.BAD_INPUT, "Did you mean 'show'", id="unknown-command"),
        pytest.param(["runs", "--limit", "0"], exits.BAD_INPUT, "--limit", id="limit-out-of-range"),
        pytest.param(["runs", "--status", "odd"], exits.BAD_INPUT, "'waiting'", id="unknown-status"),
        pytest.param(["runs", "--label", "colour"], exits.BAD_INPUT, "key=value", id="label-without-value"),
        pytest.param(["start", "desk"], exits.BAD_INPUT, "INPUT", id="start-without-input"),
        pytest.param(["start", "desk", ""], exits.BAD_INPUT, "empty", id="empty-input"),
        pytest.param(["start", "desk", "x", "--label", "k"], exits.BAD_INPUT, "key=value", id="bad-label"),
        pytest.param(["start", "desk", "x", "--context", "{"], exits.BAD_INPUT, "not JSON", id="bad-context"),
        pytest.param(["start", "desk", "x", "--context", "[]"], exits.BAD_INPUT, "object", id="context-is-a-list"),
        pytest.param(["start", "desk", "x", "--ask"], exits.BAD_INPUT, "terminal", id="ask-without-terminal"),
        pytest.param(["start", "desk", "x", "--attach"], exits.BAD_INPUT, "--id", id="attach-to-nothing"),
        pytest.param(["approve", "abcd1234", "--arguments", "{x}"], exits.BAD_INPUT, "not JSON", id="bad-arguments"),
        pytest.param(["approve", "ab"], exits.BAD_INPUT, "too short", id="short-prefix"),
        pytest.param(["decide", "abcd1234", "--verdict", "maybe"], exits.BAD_INPUT, "'run_again'", id="bad-verdict"),
        pytest.param(["decide", "abcd1234", "--verdict", "answer"], exits.BAD_INPUT, "--output", id="no-answer"),
        pytest.param(["worker", "no_such_module"], exits.BAD_INPUT, "no module", id="no-such-module"),
        pytest.param(["worker", "desk_agents.py"], exits.BAD_INPUT, "desk_agents", id="a-file-for-a-module"),
        pytest.param(["worker", "desk_agents:nobody"], exits.BAD_INPUT, "has no nobody", id="no-such-name"),
        pytest.param(["worker", "desk_agents"], exits.BAD_INPUT, "OPENAI_API_KEY", id="worker-without-key"),
        pytest.param(["dev", "desk_agents"], exits.BAD_INPUT, "set OPENAI_API_KEY; or without", id="dev-without-key"),
        pytest.param(["dev", "desk_agents"], exits.BAD_INPUT, 'script = "script.json" under', id="dev-by-a-script"),
        pytest.param(["dev", "desk_agents"], exits.BAD_INPUT, "dev --model ollama:", id="dev-by-a-local-model"),
        pytest.param(["show", "no-such-run"], exits.NOT_FOUND, "handfast runs", id="show-unknown-run"),
        pytest.param(["cancel", "no-such-run"], exits.NOT_FOUND, "handfast runs", id="cancel-unknown-run"),
        pytest.param(["approvals", "--run", "no-such-run"], exits.NOT_FOUND, "no run", id="approvals-of-unknown-run"),
        pytest.param(["approve", "abcd1234"], exits.NOT_FOUND, "handfast approvals", id="approve-unknown-request"),
        pytest.param(["reject", "abcd1234", "--run", "no-such-run"], exits.NOT_FOUND, "no run", id="reject-in-no-run"),
        pytest.param(["runs", "--namespace", "nowhere"], exits.NOT_SET_UP, "nowhere", id="unknown-namespace"),
        pytest.param(["show", "x", "--namespace", "nowhere"], exits.NOT_SET_UP, "nowhere", id="show-in-no-namespace"),
        pytest.param(["runs", "--profile", "nobody"], exits.BAD_INPUT, "profile", id="unknown-profile"),
    ],
)
async def test_what_is_wrong_is_said_in_one_line(cli: Cli, arguments: list[str], code: int, words: str) -> None:
    """XC5: each mistake ends in its documented code and one line that names the remedy; stdout stays empty."""
    finished = await cli(*arguments)
    assert (finished.code, finished.out) == (code, "")
    assert words in finished.line


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["runs"], id="runs"),
        pytest.param(["show", "x"], id="show"),
        pytest.param(["approvals"], id="approvals"),
        pytest.param(["approve", "abcd1234"], id="approve"),
        pytest.param(["start", "desk", "hello"], id="start"),
        pytest.param(["cancel", "x"], id="cancel"),
        pytest.param(["setup"], id="setup"),
    ],
)
async def test_no_server_is_one_line_with_the_remedy(make_cli: MakeCli, arguments: list[str]) -> None:
    """XC5: with no server at the address every command says so, how to start one, and leaves with 5."""
    finished = await make_cli(NOWHERE)(*arguments)
    assert finished.code == exits.NO_SERVER
    assert "handfast dev" in finished.line


async def test_an_error_is_a_json_document_too(cli: Cli) -> None:
    """With --json a program reads the error's type, text and code from stdout, and a person the line on stderr."""
    finished = await cli("show", "no-such-run", "--json")
    assert finished.code == exits.NOT_FOUND
    assert finished.document == {
        "error": {"type": "RunNotFoundError", "message": finished.line, "exit": exits.NOT_FOUND}
    }


async def test_an_unknown_agent_starts_nothing_where_agents_are_named(cli: Cli, server: EmbeddedServer) -> None:
    """With --agents an unknown agent is refused before anything starts, and the line names those that exist."""
    finished = await cli("start", "disk", "hello", "--id", "never-1", "--agents", "desk_agents")
    assert finished.code == exits.BAD_INPUT
    assert "did you mean 'desk'?" in finished.line
    assert (await cli("show", "never-1")).code == exits.NOT_FOUND


async def test_agents_to_check_against_come_from_the_environment(cli: Cli) -> None:
    """HANDFAST_AGENTS says once for a whole project what start checks against."""
    finished = await cli("start", "disk", "hello", HANDFAST_AGENTS="desk_agents")
    assert finished.code == exits.BAD_INPUT
    assert "known agents: desk" in finished.line


async def test_a_context_that_does_not_fit_starts_nothing(cli: Cli) -> None:
    """With --agents a context is checked against the agent's own type, field by field, before anything starts."""
    (cli.directory / "typed_agents.py").write_text(
        "from pydantic import BaseModel\n"
        "from handfast import Agent\n"
        "class Ticket(BaseModel):\n"
        "    number: int\n"
        "typed = Agent('typed', instructions='Help.', model='m', context_type=Ticket)\n"
    )
    finished = await cli("start", "typed", "hello", "--agents", "typed_agents", "--context", '{"number": "x"}')
    assert finished.code == exits.BAD_INPUT
    assert "number" in finished.line


async def test_a_module_that_breaks_is_named_in_one_line(cli: Cli) -> None:
    """A module that raises while it is imported is one line with the error's type, not a traceback."""
    (cli.directory / "broken_agents.py").write_text("1 / 0\n")
    finished = await cli("worker", "broken_agents")
    assert finished.code == exits.BAD_INPUT
    assert "ZeroDivisionError" in finished.line


async def test_a_traceback_is_there_for_whoever_asks(cli: Cli) -> None:
    """HANDFAST_DEBUG=1 shows where an error comes from."""
    finished = await cli("show", "no-such-run", HANDFAST_DEBUG="1")
    assert finished.code == exits.NOT_FOUND
    assert "Traceback" in finished.err


async def test_help_and_version_are_fine(cli: Cli) -> None:
    """Help and version go to stdout with code 0, without colour codes where nobody's terminal reads."""
    version, helped = await cli("--version"), await cli("start", "--help")
    assert (version.code, helped.code) == (exits.OK, exits.OK)
    assert version.out.startswith("handfast ")
    assert "claimed name" in helped.out
    assert "\x1b" not in helped.out


async def test_dev_without_key_starts_nothing(make_cli: MakeCli) -> None:
    """Without a key `handfast dev AGENTS` refuses before a server is started."""
    cli = make_cli(None)
    assert (await cli("dev", "desk_agents")).code == exits.BAD_INPUT
    assert not (cli.directory / ".handfast").exists()


async def test_a_taken_run_id_is_refused(cli: Cli, server: EmbeddedServer) -> None:
    """A second start of an id that runs is refused with 4; with --attach it is the same run."""
    first = await cli("start", "desk", "hello", "--no-wait", "--id", "taken-1", "--task-queue", "nobody")
    second = await cli("start", "desk", "hello", "--no-wait", "--id", "taken-1", "--task-queue", "nobody")
    attached = await cli("start", "desk", "hello", "--no-wait", "--id", "taken-1", "--attach", "--json")
    assert (first.code, first.out.strip()) == (exits.OK, "taken-1")
    assert second.code == exits.REFUSED
    assert "going on" in second.line
    assert attached.document == {"run": "taken-1"}
    await (await Handfast.connect(server.address)).client.get_workflow_handle("taken-1").terminate()
