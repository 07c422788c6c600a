"""Calls of MCP tools: gated, run once, and in doubt where their server or their worker dies."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import psutil
import pytest

from handfast import Agent, GiveUp, Ran, RunAgain
from handfast.errors import EditRefusedError
from handfast.testing import Lab, Reply, call, text
from handfast.workflows.loop.verdicts import OUTCOME_UNKNOWN
from support.desk import outputs
from support.labs import MakeLab
from support.mcp.shown import shown
from support.mcp.world import World, said
from support.progress import told

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
    assert "store, which says of write: write it" in shown(request)
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


async def test_progress_of_a_server_is_that_of_the_call(make_lab: MakeLab, world: World) -> None:
    """What a server tells of its progress is what ``run.progress()`` says."""
    lab = await make_lab([desk(world, approval=False)], script=[WRITE, DONE])
    world.answers = None
    run = await lab.start("desk")
    called = await world.called()
    called.progress(1, 4, "reading")
    progress = await told(run, "reading")
    assert (progress.tool, progress.done, progress.total) == ("write", 1, 4)
    called.answer(said("written"))
    assert (await run.result()).output == "done"


@pytest.mark.parametrize("http", [pytest.param(False, id="stdio"), pytest.param(True, id="http")])
async def test_a_cancel_reaches_the_server(make_lab: MakeLab, world: World, *, http: bool) -> None:
    """Cancelling the run, or the call alone, cancels the request at the server, whose session stays."""
    world.answers = None
    async with world.served() as served:
        server = served.http(approval=False) if http else world.stdio(approval=False)
        lab = await make_lab([Agent("desk", model="m", mcp=[server])], script=[WRITE, DONE, WRITE])
        run = await lab.start("desk")
        first = await world.called()
        await run.cancel_call("c1")
        await asyncio.wait_for(first.ended.wait(), 10)
        assert (await run.result()).output == "done"
        other = await lab.start("desk")
        second = await world.called()
        assert second.pid == first.pid
        await other.cancel()
        await asyncio.wait_for(second.ended.wait(), 10)


async def test_a_server_by_http_may_go_and_come_again(make_lab: MakeLab, world: World) -> None:
    """A call that it was lost in is in doubt; the next one, to the server at the same address, is made."""
    world.answers = None
    async with world.served() as served:
        lab = await make_lab([Agent("desk", model="m", mcp=[served.http()])], script=[WRITE, DONE])
        run = await lab.start("desk")
        await run.approve(await lab.next_request(run), decided_by="lead")
        await world.called()
        served.process.kill()
        doubt = await lab.next_request(run)
        assert doubt.kind == "in_doubt"
        async with world.served(port=served.port):
            await run.decide(doubt, RunAgain(), decided_by="lead")
            (await world.called()).answer(said("written"))
            assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", "written")]
    assert world.effects == ["write a", "write a"]


async def test_one_connection_serves_every_run_of_a_worker(make_lab: MakeLab, world: World) -> None:
    """Two agents with the same server and several runs share its process, which ends with the worker."""
    server = world.stdio(approval=False)
    agents = [Agent(name, model="m", mcp=[server]) for name in ("one", "two")]
    lab = await make_lab(agents, script=[WRITE, DONE, WRITE, DONE, WRITE, DONE])
    for name in ("one", "two", "one"):
        assert (await (await lab.start(name)).result()).output == "done"
    [pid] = world.starts
    assert psutil.pid_exists(pid)
    await lab.stop_worker()
    assert not psutil.pid_exists(pid)


async def test_servers_of_the_plugin_are_every_agents(make_lab: MakeLab, world: World) -> None:
    """What the plugin has goes to all agents; ``tools`` and ``prefix`` say what, and under which names."""
    server = world.stdio(approval=False, tools=["look", "write"], prefix="shop_")
    agents = [Agent(name, model="m") for name in ("one", "two")]
    lab = await make_lab(agents, mcp=[server], script=[Reply(call("shop_look", {"name": "a"}, "c1")), DONE, DONE])
    for name in ("one", "two"):
        assert (await (await lab.start(name)).result()).output == "done"
    offered = [[tool["name"] for tool in request.body["tools"]] for request in lab.model.requests]
    assert offered == [["shop_look", "shop_write"]] * 3
    assert world.effects == ["look a"]


async def test_an_approver_may_change_the_arguments(make_lab: MakeLab, world: World) -> None:
    """Other arguments have to satisfy the server's schema, and are those that the server gets."""
    lab = await make_lab([desk(world)], script=[WRITE, DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    with pytest.raises(EditRefusedError, match="'name' is a required property"):
        await run.approve(request, decided_by="lead", arguments={"title": "b"})
    await run.approve(request, decided_by="lead", arguments={"name": "b"})
    assert (await run.result()).output == "done"
    assert world.effects == ["write b"]
