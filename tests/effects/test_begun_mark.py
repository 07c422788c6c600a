"""DESIGN §6: a call that is known not to have begun is run; one that began is never run again by itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.api.workflowservice.v1 import RecordActivityTaskHeartbeatRequest
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.exceptions import ActivityError, TimeoutError as TimeoutError_, TimeoutType

from handfast import Agent, GiveUp, RunAgain, ToolContext, tool
from handfast.activities.runtime.beats import Beats, NotAcknowledgedError
from handfast.activities.runtime.blocks import Blocks
from handfast.activities.tool.run_tool import ToolActivities
from handfast.payloads.base import Undecodable
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import Origin
from handfast.server import EmbeddedServer
from handfast.testing import Lab, Reply, call, text
from handfast.workflows.tasks.await_activity import Failed, ending_of
from support.crash.grpc_proxy import GrpcProxy
from support.crash.steps import BEAT
from support.desk import DONE, desk, outputs
from support.labs import Effects, MakeLab

WIPE = Reply(call("wipe", {"target": "t"}, "c1"))


def unacknowledged(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Lose the answer to the first *times* first beats."""
    original = Beats.kept
    left = [times]

    @asynccontextmanager
    async def kept(self: Beats, details: Sequence[Any], *args: Any, **options: Any) -> AsyncIterator[None]:
        if details and left[0] > 0:
            left[0] -= 1
            raise NotAcknowledgedError("no answer in time")
        async with original(self, details, *args, **options):
            yield

    monkeypatch.setattr(Beats, "kept", kept)


@pytest.mark.quick
async def test_a_call_whose_first_beat_is_lost_is_scheduled_again(
    make_lab: MakeLab, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the server's acknowledgement the body does not start; the call is run a moment later, once."""
    unacknowledged(monkeypatch, 2)
    lab = await make_lab([desk(effects)], script=[WIPE, DONE])
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    await run.result()
    assert effects == ["wipe t"]
    assert outputs(lab) == [("c1", "wiped t")]


async def test_a_call_that_never_begins_becomes_a_request(
    make_lab: MakeLab, effects: Effects, monkeypatch: pytest.MonkeyPatch, skipping_client: Client
) -> None:
    """Five starts that never began ask a person; running again then runs it once."""
    unacknowledged(monkeypatch, 5)
    lab = await make_lab([desk(effects)], script=[WIPE, DONE], client=skipping_client)
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    doubt = await lab.next_request(run)
    assert (doubt.kind, doubt.facts) == ("in_doubt", {"ended": "not_begun", "starts": 5})
    await run.decide(doubt, RunAgain(), decided_by="lead")
    await run.result()
    assert effects == ["wipe t"]


async def test_an_attempt_lost_before_it_began_is_run_elsewhere(
    make_lab: MakeLab, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that vanishes before its first beat times out without the mark, and the call is run again."""
    original = ToolActivities._run
    lost = [True]

    async def run_or_vanish(self: ToolActivities, arg: object) -> Any:
        if lost.pop() if lost else False:
            await asyncio.Event().wait()
        return await original(self, arg)

    monkeypatch.setattr(ToolActivities, "_run", run_or_vanish)
    lab = await make_lab([desk(effects)], script=[WIPE, DONE])
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    await run.result()
    assert effects == ["wipe t"]
    assert outputs(lab) == [("c1", "wiped t")]


async def test_a_tool_that_blocks_the_loop_keeps_beating(make_lab: MakeLab, effects: Effects) -> None:
    """An async tool that blocks its event loop for longer than the heartbeat timeout still ends as it should."""

    @tool
    async def block() -> str:
        """Block the loop for four seconds."""
        effects.append("begun")
        threading.Event().wait(4)
        return "finished"

    lab = await make_lab([Agent("desk", model="m", tools=[block])], script=[Reply(call("block")), Reply(text("ok"))])
    run = await lab.start("desk")
    await run.result()
    assert effects == ["begun"]
    assert outputs(lab) == [("call_1", "finished")]


class Overheard(GrpcProxy):
    """Hears every heartbeat: what its details begin with, as soon as the server has taken it."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.beats: asyncio.Queue[Any] = asyncio.Queue()

    async def _send(self, method: str, request: bytes, context: Any) -> bytes:
        reply = await super()._send(method, request, context)
        if method.endswith(BEAT):
            details = RecordActivityTaskHeartbeatRequest.FromString(request).details.payloads
            said = DataConverter.default.payload_converter.from_payloads(details)
            self.beats.put_nowait(said[0] if said else None)
        return reply


async def test_heartbeats_of_a_tools_own_never_erase_the_mark(effects: Effects, server: EmbeddedServer) -> None:
    """Before a tool begins the server has the mark, and it stays whatever the tool says of itself, from a coroutine or
    a thread, with details or without: no heartbeat goes out that lacks it, and a call that is lost then is in doubt."""
    until = timedelta(seconds=3.5)  # the SDK holds heartbeats back for 2.4 s

    @tool(on_unknown="ask", timeout=until)
    async def hum() -> str:
        """Say that it lives, for ever."""
        effects.append(f"hum {await begun()}")
        while True:
            activity.heartbeat()
            activity.heartbeat("of its own", 1)
            await asyncio.sleep(0.02)  # a busy tool, which ends by its timeout

    @tool(on_unknown="ask", timeout=until)
    def drum(ctx: ToolContext) -> str:
        """The same in a thread."""
        effects.append("drum")
        while not ctx.cancel_event.wait(0.02):
            activity.heartbeat()
        return "drummed"

    async def begun() -> list[object]:
        described = await lab.client.get_workflow_handle(run.id).describe()
        read = lab.client.data_converter.decode
        pending = [each for each in described.raw_description.pending_activities if "hum" in each.activity_type.name]
        return [(await read(list(each.heartbeat_details.payloads)))[0].get("begun") for each in pending]

    reply = Reply(call("hum", {}, "c1"), call("drum", {}, "c2"))
    agent = Agent("desk", model="m", tools=[hum, drum])
    async with (
        Overheard(server.address) as proxy,
        Lab([agent], script=[reply, DONE], client=await Client.connect(proxy.address)) as lab,
    ):
        run = await lab.start("desk")
        doubts = await lab.open_requests(run, 2)
        assert [each.kind for each in doubts] == ["in_doubt"] * 2
        assert sorted(effects) == ["drum", "hum [1]"]
        said = [proxy.beats.get_nowait() for _ in range(proxy.beats.qsize())]
        assert len(said) > 6
        assert [each for each in said if each is None or each.get("begun") != 1] == []
        for doubt in doubts:
            await run.decide(doubt, GiveUp(), decided_by="lead")
        await run.result()


async def test_a_call_that_says_begun_has_a_thread(make_lab: MakeLab, effects: Effects) -> None:
    """With eighty sync tools busy, an approved one still runs at once instead of being called begun in a queue."""
    release = threading.Event()

    @tool(effect="read_only")
    def occupy(number: int) -> str:
        """Hold a thread."""
        release.wait(30)
        return "held"

    @tool(approval=True, timeout=timedelta(seconds=5))
    def quick() -> str:
        """Be quick."""
        effects.append("quick")
        release.set()
        return "quick"

    reply = Reply(*(call("occupy", {"number": n}, f"c{n}") for n in range(80)), call("quick", {}, "q"))
    lab = await make_lab([Agent("desk", model="m", tools=[occupy, quick])], script=[reply, DONE])
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    await run.result()
    assert effects == ["quick"]
    assert ("q", "quick") in outputs(lab)


async def test_a_slow_transcript_does_not_cost_a_call(
    make_lab: MakeLab, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a cold worker waits for the run's data longer than the heartbeat allows, the call is run a moment later."""
    original = Blocks.block
    asked: list[str] = []

    async def slow_at_first(self: Blocks, origin: Origin, block_id: str) -> list[JsonObject]:
        asked.append(block_id)
        if len(asked) == 2:
            await asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, 4)
        return await original(self, origin, block_id)

    @tool
    async def greet(ctx: ToolContext[Any]) -> str:
        """Greet."""
        effects.append(ctx.context["name"])
        return "greeted"

    monkeypatch.setattr(Blocks, "block", slow_at_first)
    lab = await make_lab([Agent("desk", model="m", tools=[greet])], script=[Reply(call("greet", {}, "c1")), DONE])
    run = await lab.start("desk", context={"name": "Ana"})
    await run.result()
    assert effects == ["Ana"]
    assert outputs(lab) == [("c1", "greeted")]


@pytest.mark.parametrize("details", [[{"begun": 1}], [Undecodable("ValueError")], ["something else"]])
async def test_any_beat_means_begun(details: list[Any]) -> None:
    """A mark that comes back in a form that cannot be read is still a mark: the call is in doubt, not run again."""
    timeout = TimeoutError_("heartbeat", type=TimeoutType.HEARTBEAT, last_heartbeat_details=details)
    error = ActivityError(
        "activity",
        scheduled_event_id=1,
        started_event_id=2,
        identity="",
        activity_type="handfast.tool.x",
        activity_id="1",
        retry_state=None,
    )
    error.__cause__ = timeout
    ending = ending_of(error)
    assert isinstance(ending, Failed)
    assert ending.begun
