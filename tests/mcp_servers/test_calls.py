"""Calls of MCP tools: gated, run once, and in doubt where their server or their worker dies."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from handfast import Agent, GiveUp, Ran, RunAgain
from handfast.testing import Lab, Reply, call, text
from handfast.workflows.loop.verdicts import OUTCOME_UNKNOWN
from support.desk import outputs
from support.labs import MakeLab
from support.mcp.world import World, said

DONE = Reply(text("done"))
LOOK = Reply(call("look", {"name": "a"}, "c0"))
PUT = Reply(call("put", {"name": "a"}, "c1"))
WRITE = Reply(call("write", {"name": "a"}, "c1"))


def desk(world: World, **options: Any) -> Agent:
    """An agent with the world's server."""
    return Agent("desk", model="m", mcp=[world.stdio(**options)])


async def test_a_tool_that_says_nothing_of_itself_asks_a_person(make_lab: MakeLab, world: World, cache: int) -> None:
    """A tool without annotations waits for a person and runs once; one that only reads runs at once."""
    lab = await make_lab([desk(world)], script=[LOOK, WRITE, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    assert world.effects == ["look a"]
    assert (request.kind, request.tool, request.arguments) == ("approval", "write", {"name": "a"})
    assert request.facts == {"mcp": {"server": "store", "tool": "write", "description": "write it"}}
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert world.effects == ["look a", "write a"]
    assert outputs(lab, 3) == [("c0", "look ok"), ("c1", "write ok")]
    offered = {tool["name"]: tool["parameters"] for tool in lab.model.requests[0].body["tools"]}
    assert offered["write"]["required"] == ["name"]
    assert len(world.starts) == 1


@pytest.mark.parametrize(
    ("options", "script", "asked"),
    [
        pytest.param({"approval": False}, WRITE, False, id="nobody"),
        pytest.param({"approval": {"write": False}}, WRITE, False, id="nobody-about-this-tool"),
        pytest.param({"approval": {"look": False}}, WRITE, True, id="others-as-ever"),
        pytest.param({"approval": True}, LOOK, True, id="also-what-reads"),
        pytest.param({"effect": "at_most_once"}, LOOK, True, id="no-hint-is-believed"),
        pytest.param({"effect": {"write": "read_only"}}, WRITE, False, id="declared-to-read"),
        pytest.param({}, PUT, True, id="idempotent-is-asked-about"),
    ],
)
async def test_the_developer_says_who_is_asked(
    make_lab: MakeLab, world: World, options: Any, script: Reply, *, asked: bool
) -> None:
    """``approval=`` and ``effect=`` go before what the server says, for all its tools or for each."""
    lab = await make_lab([desk(world, **options)], script=[script, DONE])
    run = await lab.start("desk")
    if asked:
        request = await lab.next_request(run)
        assert world.effects == []
        await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert len(world.effects) == 1


async def test_a_rule_is_given_the_call(make_lab: MakeLab, world: World) -> None:
    """A rule of an MCP tool gets server, tool and arguments."""
    seen: list[Any] = []

    def rule(_: Any, asked: Any) -> bool:
        seen.append((asked.server_label, asked.name, asked.arguments))
        return False

    lab = await make_lab([desk(world, approval={"write": rule})], script=[WRITE, DONE])
    assert (await (await lab.start("desk")).result()).output == "done"
    assert seen == [("store", "write", {"name": "a"})]


async def test_arguments_that_do_not_fit_are_told_to_the_model(make_lab: MakeLab, world: World) -> None:
    """The server's JSON schema is checked before a person is asked."""
    wrong = Reply(call("write", {"title": "a"}, "c1"))
    lab = await make_lab([desk(world)], script=[wrong, DONE])
    assert (await (await lab.start("desk")).result()).output == "done"
    [(_, output)] = outputs(lab)
    assert output == "Error: invalid arguments for write: arguments: 'name' is a required property"
    assert world.effects == []


@pytest.mark.parametrize(
    ("verdict", "output", "effects"),
    [
        pytest.param(Ran(output="it is there"), "it is there", 1, id="it-ran"),
        pytest.param(RunAgain(), "written", 2, id="run-it-again"),
        pytest.param(GiveUp(), OUTCOME_UNKNOWN, 1, id="give-up"),
    ],
)
async def test_a_server_that_dies_in_a_gated_call_leaves_it_in_doubt(
    make_lab: MakeLab, world: World, verdict: Any, output: str, effects: int
) -> None:
    """The call is not repeated: a person says whether it ran, and the server is started again where it is needed."""
    lab = await make_lab([desk(world)], script=[WRITE, DONE])
    world.answers = None
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    os.kill((await world.called()).pid, signal.SIGKILL)
    doubt = await lab.next_request(run)
    assert doubt.kind == "in_doubt"
    assert doubt.facts is not None
    assert "the connection to the MCP server store broke during the call" in doubt.facts["ended"]
    await run.decide(doubt, verdict, decided_by="lead")
    if effects == 2:
        (await world.called()).answer(said("written"))
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", output)]
    assert world.effects == ["write a"] * effects


async def test_a_call_that_may_be_repeated_is_when_its_server_dies(make_lab: MakeLab, world: World) -> None:
    """An idempotent tool is called again, on a server that was started anew; nobody is asked."""
    lab = await make_lab([desk(world, approval=False)], script=[PUT, DONE])
    world.answers = None
    run = await lab.start("desk")
    first = await world.called()
    os.kill(first.pid, signal.SIGKILL)
    again = await world.called()
    assert again.pid != first.pid
    again.answer(said("put"))
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", "put")]


async def in_processes(make_lab: MakeLab, world: World, *script: Reply) -> Lab:
    """A lab whose workers can be killed."""
    return await make_lab("support.mcp.desk:desk", script=script, environment={"MCP_WORLD": str(world.path)})


async def test_a_worker_killed_in_a_gated_call_leaves_it_in_doubt(make_lab: MakeLab, world: World) -> None:
    """The server dies with its worker; the next worker starts its own, and does not repeat the call."""
    lab = await in_processes(make_lab, world, WRITE, DONE)
    world.answers = None
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    first = await world.called()
    await lab.kill_worker()
    await first.ended.wait()
    await lab.start_worker()
    doubt = await lab.next_request(run)
    assert doubt.kind == "in_doubt"
    await run.decide(doubt, RunAgain(), decided_by="lead")
    again = await world.called()
    assert again.pid != first.pid
    again.answer(said("written"))
    assert (await run.result()).output == "done"
    assert world.effects == ["write a", "write a"]


async def test_a_worker_replaced_while_a_person_thinks_starts_a_server_of_its_own(
    make_lab: MakeLab, world: World
) -> None:
    """An approval outlives the worker and its MCP server: the call runs once, on the next worker."""
    lab = await in_processes(make_lab, world, WRITE, DONE)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.kill_worker()
    await lab.start_worker()
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert world.effects == ["write a"]
    assert len(world.starts) == 2
