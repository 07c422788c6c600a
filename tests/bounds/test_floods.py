"""Row XD4: far more signals than anybody needs, at once: the run stays well, and what people decide counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import pytest
from temporalio import workflow

from handfast import Agent, AgentHost, Run, Signer
from handfast.client.trouble import Trouble
from handfast.payloads.events import MessageRefused, RequestRefused
from handfast.testing import Lab, Reply, call, text
from support.desk import desk
from support.evidence import failed_tasks, plain, send_signal
from support.labs import Effects, MakeLab
from support.load import busy_loops, flood
from support.signing import ring

WIPE = Reply(call("wipe", {"target": "tmp"}, "c1"))
DONE = Reply(text("done"))
GATEWAY = Signer.generate(method="gateway")
STRANGER = Signer.generate(method="stranger")
WITHIN_S: Final = 60.0
"""A person who decides is not kept waiting for minutes, whatever a stranger sends."""
WITHIN_BUSY_S: Final = 240.0
"""On a busy machine some tasks are tried again until one is in time: the run ends all the same."""


async def with_a_request(make_lab: MakeLab, agent: Agent, **options: Any) -> tuple[Lab, Run, str]:
    """A run of *agent* that waits for a person; the id of its request."""
    lab = await make_lab([agent], script=[WIPE, DONE], **options)
    run = await lab.start(agent.name)
    return lab, run, (await lab.next_request(run)).id


async def ended_well(lab: Lab, run: Run, effects: Sequence[str]) -> None:
    """The run ends as it would have, with the effect once, and no workflow task failed."""
    async with asyncio.timeout(WITHIN_S):
        assert (await run.result()).output == "done"
    assert list(effects) == ["wipe tmp"]
    assert await failed_tasks(lab, run) == 0


async def flood_of(lab: Lab, run: Run) -> Trouble | None:
    """What `attention` says of a flood."""
    async with asyncio.timeout(WITHIN_S):
        while True:  # the list of runs lags behind the runs
            found = [each async for each in lab.hf.attention() if each.run == run.id and each.kind == "flood"]
            if found:
                return found[0]


@pytest.mark.parametrize(
    ("names", "production"),
    [
        pytest.param(["send"], False, id="send"),
        pytest.param(["approve"], False, id="approve"),
        pytest.param(["no-such-signal"], False, id="an-unknown-name"),
        pytest.param(["send", "approve", "decide", "stop", "no-such-signal"], False, id="all-names"),
        pytest.param(["approve"], True, id="approve-signed"),
        pytest.param(["send", "approve", "decide", "stop", "no-such-signal"], True, id="all-names-signed"),
    ],
)
async def test_three_thousand_signals_without_a_worker_lose_no_decision(
    make_lab: MakeLab, effects: Effects, names: list[str], production: bool
) -> None:
    """XD4: three thousand signals that say nothing, of any name, come while no worker runs, and then a decision, which
    is stored: it counts when a worker returns, in production mode too."""
    keys = {"trusted_keys": ring(GATEWAY), "signer": GATEWAY} if production else {}
    lab, run, request = await with_a_request(make_lab, desk(effects), **keys)
    await lab.stop_worker()
    await flood(lab.client, run, names, 3000, ["nothing"])
    assert (await run.approve(request, decided_by="lead")).state == "stored"
    await lab.start_worker()
    await ended_well(lab, run, effects)


@pytest.mark.parametrize("production", [False, True], ids=["claimed-names", "signed"])
async def test_thousands_of_decisions_about_what_waits_hide_no_true_one(
    make_lab: MakeLab, effects: Effects, production: bool
) -> None:
    """XD4: so do three thousand decisions about the very request that waits, each of which is refused."""
    keys = {"trusted_keys": ring(GATEWAY), "signer": GATEWAY} if production else {}
    lab, run, request = await with_a_request(make_lab, desk(effects), **keys)
    await lab.stop_worker()
    await flood(
        lab.client, run, ["approve", "reject", "decide"], 3000, {"id": request, "digest": "v1:0", "decided_by": "x"}
    )
    assert (await run.approve(request, decided_by="lead")).state == "stored"
    await lab.start_worker()
    await ended_well(lab, run, effects)


async def test_ten_thousand_signals_on_a_busy_machine_leave_a_run_decidable(
    make_lab: MakeLab, effects: Effects
) -> None:
    """XD4: ten thousand signals, as many as the server takes, wait for a worker on a machine with six busy loops: the
    decision counts, and the run ends."""
    lab, run, request = await with_a_request(make_lab, desk(effects))
    await lab.stop_worker()
    await flood(lab.client, run, ["approve"], 9999, {"id": "none", "decided_by": "stranger"})
    async with busy_loops(6):
        await lab.start_worker()
        async with asyncio.timeout(WITHIN_BUSY_S):
            await run.approve(request, decided_by="lead")
            assert (await run.result()).output == "done"
    assert effects == ["wipe tmp"]


async def test_ten_thousand_signals_of_all_names_to_a_run_with_a_worker_are_named(
    make_lab: MakeLab, effects: Effects
) -> None:
    """XD4: ten thousand signals of several names come while a worker runs: the run takes decisions by update, says in
    its events how many were refused unread, and stands among those that need attention, with what helps."""
    lab, run, request = await with_a_request(make_lab, desk(effects))
    await flood(lab.client, run, ["send", "approve", "decide", "no-such-signal"], 9999, {"nothing": 1})
    found = await flood_of(lab, run)
    assert found is not None
    assert "no-such-signal" not in found.message  # a stranger's words
    assert "decisions by update count" in found.remedy
    assert (await run.approve(request, decided_by="lead")).state == "recorded"
    await ended_well(lab, run, effects)
    told = [each async for each in run.events(wait=False) if isinstance(each, MessageRefused | RequestRefused)]
    unread = [each.why or "" for each in told if "refused unread" in (each.why or "")]
    assert any("100 signals send so far" in why for why in unread)
    assert any("100 signals of unknown names so far" in why for why in unread)
    assert len(told) < 2500  # a flood does not fill the log


async def test_as_many_decisions_as_may_wait_all_count(make_lab: MakeLab, effects: Effects) -> None:
    """XD4: 256 approvals, more than one workflow task reads, are stored while no worker runs, and then as many
    rejections of the same requests: each request is decided by the one that came first."""
    wipes = Reply(*(call("wipe", {"target": f"t{n}"}, f"c{n}") for n in range(256)))
    lab = await make_lab([desk(effects)], script=[wipes, DONE])
    run = await lab.start("desk")
    pending = await lab.open_requests(run, 256, timeout=90)
    await lab.stop_worker()
    for request in pending:
        await send_signal(lab, run, "approve", [plain(request.id)])
    for request in pending:
        await send_signal(lab, run, "reject", [plain(request.id)])
    await lab.start_worker()
    async with asyncio.timeout(WITHIN_S):
        assert (await run.result()).output == "done"
    assert len(effects) == 256
    assert await failed_tasks(lab, run) == 0


@workflow.defn
class Hosting:
    """A workflow of the user's own, which counts signals of its own."""

    @workflow.init
    def __init__(self) -> None:
        self.agents = AgentHost()
        self.pings = 0

    @workflow.signal
    def ping(self, _word: str) -> None:
        """Count."""
        self.pings += 1

    @workflow.run
    async def run(self) -> list[Any]:
        """Run the agent."""
        result = await self.agents.run("desk", "go")
        return [result.output, self.pings]


async def test_a_flood_to_agents_in_a_users_workflow_leaves_its_own_signals_alone(
    make_lab: MakeLab, effects: Effects
) -> None:
    """XD4: agents in a workflow of the user's own get three thousand signals while no worker runs; every signal of the
    user's own among them arrives, and a decision counts."""
    lab = await make_lab([desk(effects)], script=[WIPE, DONE], workflows=[Hosting])
    handle = await lab.client.start_workflow(Hosting.run, id=f"hosting-{lab.task_queue}", task_queue=lab.task_queue)
    run = lab.watch(lab.hf.run(handle.id))
    request = await lab.next_request(run)
    await lab.stop_worker()
    await flood(lab.client, run, ["handfast.send", "handfast.approve", "handfast.nothing", "ping"], 4000)
    await run.approve(request, decided_by="lead")
    await lab.start_worker()
    async with asyncio.timeout(WITHIN_S):
        assert await handle.result() == ["done", 1000]
    assert effects == ["wipe tmp"]
    assert await failed_tasks(lab, run) == 0
