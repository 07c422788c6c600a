"""Row XB3: many decide or ask at the same time, on a machine that cannot keep up; each hears the truth."""

from __future__ import annotations

import asyncio
from collections import Counter

from temporalio.client import Client

from handfast import Handfast, Ran, Receipt, Run, RunAgain
from handfast.errors import RequestClosedError, RunEndedError
from handfast.testing import Reply, Script, call, text
from support.crash.grpc_proxy import Drop, Fault, GrpcProxy, Side
from support.desk import desk
from support.labs import Effects, MakeLab
from support.load import busy_loops, tasks_given_up

DONE = Reply(text("done"))
SOON_S = 30.0
WITHIN_S = 180.0
"""Less than the timeout of tests: what takes longer is named by the line that waits."""


def many(count: int) -> Reply:
    """One reply with *count* gated calls."""
    return Reply(*(call("wipe", {"target": f"t{n}"}, f"c{n}") for n in range(count)))


async def ended(run: Run, effects: Effects) -> str:
    """The run's output. Where the machine had no time for heartbeats a person is asked about calls, and looks."""
    async with asyncio.timeout(WITHIN_S):
        async for request in run.requests():
            if request.kind == "in_doubt" and request.arguments is not None:
                it_ran = f"wipe {request.arguments['target']}" in effects
                await run.decide(request, Ran(output="wiped") if it_ran else RunAgain(), decided_by="lead")
        return str((await run.result()).output)


async def test_two_hundred_decisions_of_one_client_at_once_all_count(make_lab: MakeLab, effects: Effects) -> None:
    """XB3: two hundred requests are approved at once while six busy loops take the machine: each decision is recorded
    or stored, and each call runs once."""
    lab = await make_lab([desk(effects)], script=[many(200), DONE])
    run = await lab.start("desk")
    pending = await lab.open_requests(run, 200, timeout=90)
    async with busy_loops(6):
        receipts = await asyncio.gather(*(run.approve(each, decided_by="lead") for each in pending))
    assert {receipt.state for receipt in receipts} <= {"recorded", "stored"}
    assert await ended(run, effects) == "done"
    assert Counter(effects) == Counter(f"wipe t{n}" for n in range(200))


async def test_four_clients_who_decide_the_same_requests_are_each_told(make_lab: MakeLab, effects: Effects) -> None:
    """XB3: four clients approve the same forty requests at once: of each, one is told that its decision counts, and the
    others by whom the request was closed, that theirs is stored, or that the run has ended."""
    lab = await make_lab([desk(effects)], script=[many(40), DONE])
    run = await lab.start("desk")
    pending = await lab.open_requests(run, 40, timeout=60)
    address = lab.client.service_client.config.target_host
    clients = [Handfast(await Client.connect(address)).run(run.id) for _ in range(4)]
    async with busy_loops(6):
        outcomes = await asyncio.gather(
            *(
                client.approve(each, decided_by=f"clerk {number}")
                for each in pending
                for number, client in enumerate(clients)
            ),
            return_exceptions=True,
        )
    told = Counter(each.state if isinstance(each, Receipt) else type(each) for each in outcomes)
    assert set(told) <= {"recorded", "stored", RequestClosedError, RunEndedError}
    assert await ended(run, effects) == "done"
    assert Counter(effects) == Counter(f"wipe t{n}" for n in range(40))


async def test_sixty_questions_at_once_are_all_answered(make_lab: MakeLab, effects: Effects) -> None:
    """XB3: four clients ask a run sixty times at once for its conversation and for decisions, and raise its
    limits as often, while six busy loops take the machine: each gets its answer, as a worker is there."""
    lab = await make_lab([desk(effects)], script=[many(1), DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    address = lab.client.service_client.config.target_host
    clients = [Handfast(await Client.connect(address)).run(run.id) for _ in range(4)]
    async with busy_loops(6), asyncio.timeout(WITHIN_S):
        await asyncio.gather(*(clients[n % 4].transcript() for n in range(60)))
        outcomes = await asyncio.gather(*(clients[n % 4].decision(f"d{n}") for n in range(60)))
        await asyncio.gather(*(clients[n % 4].raise_limits(turns=1, by="lead") for n in range(60)))
    assert {each.state for each in outcomes} == {"unknown"}
    await run.approve(request, decided_by="lead")
    assert await ended(run, effects) == "done"


async def test_questions_at_once_without_a_worker_end_soon(make_lab: MakeLab, effects: Effects) -> None:
    """XB3: no worker runs: each of a hundred callers hears so, and none waits until all before it have given up."""
    lab = await make_lab([desk(effects)], script=[many(1), DONE])
    run = await lab.start("desk")
    await lab.next_request(run)
    await lab.stop_worker()
    async with asyncio.timeout(SOON_S):
        outcomes = await asyncio.gather(*(run.decision(f"d{n}") for n in range(100)), return_exceptions=True)
    assert {type(each) for each in outcomes} == {TimeoutError}
    await lab.start_worker()


async def test_forty_messages_at_once_to_a_session_that_they_begin_all_arrive(
    make_lab: MakeLab, effects: Effects
) -> None:
    """XB3: four clients send forty messages at once to a session that nobody has begun, while six busy loops take the
    machine: one begins it, and each message is queued, or stored, and answered."""
    lab = await make_lab([desk(effects)], script=Script.of(lambda _request: DONE))
    address = lab.client.service_client.config.target_host
    clients = [Handfast(await Client.connect(address), task_queue=lab.task_queue) for _ in range(4)]
    sessions = [each.session(f"crowd-{lab.task_queue}", agent="desk") for each in clients]
    lab.watch(lab.hf.run(f"crowd-{lab.task_queue}"))
    async with busy_loops(6), asyncio.timeout(WITHIN_S):
        turns = await asyncio.gather(*(sessions[n % 4].send(f"m{n}") for n in range(40)))
    assert {each.receipt.state for each in turns if each.receipt is not None} <= {"queued", "stored"}
    async with asyncio.timeout(WITHIN_S):
        assert set(await asyncio.gather(*(each.output() for each in turns))) == {"done"}
    await sessions[0].close()


async def test_a_decision_whose_workflow_tasks_are_given_up_is_stored(make_lab: MakeLab, effects: Effects) -> None:
    """XB3: the workflow task that carries a decision is given up each time, and the server aborts the update: the
    decision is stored, and counts on the next worker."""
    lab = await make_lab([desk(effects)], script=[many(1), DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.stop_worker()
    async with tasks_given_up(lab):
        receipt = await run.approve(request, decided_by="lead")
    assert receipt.state == "stored"
    await lab.start_worker()
    assert await ended(run, effects) == "done"
    assert effects == ["wipe t0"]


async def test_a_decision_that_the_server_cannot_take_by_update_is_stored(make_lab: MakeLab, effects: Effects) -> None:
    """XB3: a server that answers, and never takes the update, is not said to be away: the decision is stored."""
    lab = await make_lab([desk(effects)], script=[many(1), DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)

    def updates(method: str, side: Side) -> Fault | None:
        return Drop() if method == "UpdateWorkflowExecution" and side == "before" else None

    async with GrpcProxy(lab.client.service_client.config.target_host) as proxy:
        proxy.plan_by(updates)
        behind = Handfast(await Client.connect(proxy.address)).run(run.id)
        receipt = await behind.approve(request, decided_by="lead")
    assert receipt.state == "stored"
    assert await ended(run, effects) == "done"
    assert effects == ["wipe t0"]
