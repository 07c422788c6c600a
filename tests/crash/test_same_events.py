"""Rows H2 and H4 under force: whatever is killed, every reader sees the same events."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from temporalio.client import Client

from handfast import GiveUp, Run
from handfast.payloads.events import (
    ModelReplied,
    RequestOpened,
    RunEvent,
    RunFinished,
    ToolCalled,
    ToolCancelled,
    ToolFailed,
    ToolNotRun,
    ToolOutput,
)
from handfast.server import EmbeddedServer
from handfast.testing import Lab, Reply, Script, call
from handfast.testing.script import RecordedRequest
from support.desk import DONE, desk
from support.events import to_the_end, types
from support.labs import Effects
from support.warm_lab import WarmLab, WarmWorkers

TESTS = Path(__file__).parent.parent
WAIT_S = 90.0

TOOLS = st.sampled_from(["wipe", "look", "levitate"])
REPLIES = st.lists(st.lists(TOOLS, min_size=1, max_size=3), min_size=1, max_size=2)
KILLS = st.lists(st.sampled_from([ModelReplied, ToolCalled, RequestOpened]), min_size=1, max_size=1)
CLOSING = (ToolOutput, ToolCancelled, ToolNotRun, ToolFailed)
ARGUMENTS: dict[str, dict[str, str]] = {"wipe": {"target": "temp"}, "look": {"check": "fans"}, "levitate": {}}


def by_turn(steps: list[Reply]) -> Script:
    """A model that says the same to the same turn, as often as it is asked: a killed call is made again."""

    def choose(request: RecordedRequest) -> Reply:
        return steps[request.turns]

    return Script.of(choose)


async def drive(lab: Lab, run: Run, kills: list[type], verdicts: st.DataObject) -> list[RunEvent]:
    """Follow a run, decide what it asks, and kill its worker at the first events of some kinds."""
    seen: list[RunEvent] = []
    waiting = list(kills)
    async with asyncio.timeout(WAIT_S):
        async for event in run.events():
            seen.append(event)
            if waiting and isinstance(event, waiting[0]):
                waiting.pop(0)
                await lab.kill_worker()
                await lab.start_worker()
            if isinstance(event, RequestOpened) and event.request.kind == "approval":
                if verdicts.draw(st.booleans(), label="approve"):
                    await run.approve(event.request, decided_by="lead")
                else:
                    await run.reject(event.request, decided_by="lead")
            elif isinstance(event, RequestOpened):
                await run.decide(event.request, GiveUp(), decided_by="lead")
    return seen


@settings(
    max_examples=2,
    phases=[Phase.generate],
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(replies=REPLIES, kills=KILLS, data=st.data())
async def test_readers_agree_whatever_is_killed(
    server: EmbeddedServer,
    warm_workers: WarmWorkers,
    replies: list[list[str]],
    kills: list[type],
    data: st.DataObject,
) -> None:
    """H4: of random runs whose workers are killed at random events, a reader from the start and one at the end see the
    same sequence, and each call is closed."""
    ids = [[f"t{turn}-{place}" for place, _ in enumerate(tools)] for turn, tools in enumerate(replies)]
    steps = [
        Reply(*(call(tool, ARGUMENTS[tool], call_id) for tool, call_id in zip(tools, named, strict=True)))
        for tools, named in zip(replies, ids, strict=True)
    ]
    lab = WarmLab(
        warm_workers, "support.crash.clerks:clerk", script=by_turn([*steps, DONE]), server=server, directory=TESTS
    )
    async with lab:
        run = await lab.start("clerk")
        live = await drive(lab, run, kills, data)
        afterwards = await to_the_end(run)
    assert live == afterwards
    assert isinstance(live[-1], RunFinished)
    assert live[-1].status == "completed"
    closed = [event for event in live if isinstance(event, CLOSING)]
    ended = [each.call_id for each in closed if not isinstance(each, ToolFailed) or each.output is not None]
    assert sorted(ended) == sorted(call_id for named in ids for call_id in named)


async def test_a_reader_outlives_the_server(effects: Effects, tmp_path: Path) -> None:
    """H4: the server is killed under a reader that waits, and started again; the reader goes on, and misses nothing."""
    server = await EmbeddedServer.start(tmp_path, port=0, ui=False)
    port = int(server.address.rpartition(":")[2])
    client = await Client.connect(server.address)
    script = [Reply(call("wipe", {"target": "t"}, "c1")), DONE]
    try:
        async with Lab([desk(effects)], script=script, client=client) as lab:
            run = await lab.start("desk")
            reading = asyncio.create_task(to_the_end(run))
            request = await lab.next_request(run)
            await lab.stop_worker()
            os.kill(json.loads((tmp_path / "server.json").read_text())["pid"], signal.SIGKILL)
            await server.close()
            server = await EmbeddedServer.start(tmp_path, port=port, ui=False)
            await lab.start_worker()
            await run.approve(request, decided_by="lead")
            await run.result()
            live = await reading
            assert live == await to_the_end(run)
            assert types(live).count("request_opened") == 1
    finally:
        await server.close()
