"""Row XB3: many decide one run's requests at the same time, on a machine that cannot keep up; each hears the truth."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueRequest, RespondWorkflowTaskFailedRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from handfast import Handfast, Receipt
from handfast.errors import RequestClosedError, RunEndedError
from handfast.testing import Lab, Reply, call, text
from support.crash.grpc_proxy import Drop, Fault, GrpcProxy, Side
from support.desk import desk
from support.labs import Effects, MakeLab
from support.load import busy_loops

DONE = Reply(text("done"))
POLL = timedelta(seconds=5)
GIVEN_UP = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND


def many(count: int) -> Reply:
    """One reply with *count* gated calls."""
    return Reply(*(call("wipe", {"target": f"t{n}"}, f"c{n}") for n in range(count)))


@asynccontextmanager
async def tasks_given_up(lab: Lab) -> AsyncIterator[None]:
    """A worker that gives up every workflow task that it gets, as one does whose machine is too slow for it."""

    leaving = asyncio.Event()

    async def give_up() -> None:
        while not leaving.is_set():
            poll = PollWorkflowTaskQueueRequest(
                namespace=lab.client.namespace, task_queue=TaskQueue(name=lab.task_queue)
            )
            try:
                task = await lab.client.workflow_service.poll_workflow_task_queue(poll, timeout=POLL)
            except RPCError as error:
                if error.status not in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
                    raise
                continue
            if task.task_token:
                failed = RespondWorkflowTaskFailedRequest(
                    namespace=lab.client.namespace, task_token=task.task_token, cause=GIVEN_UP
                )
                await lab.client.workflow_service.respond_workflow_task_failed(failed)

    giving_up = asyncio.create_task(give_up())
    try:
        yield
    finally:
        # A poll that is broken off may take the next task with it, and the server waits minutes for a task that it has
        # handed out so often. Each poll ends by itself instead.
        leaving.set()
        await giving_up


async def test_two_hundred_decisions_of_one_client_at_once_all_count(make_lab: MakeLab, effects: Effects) -> None:
    """XB3: two hundred requests are approved at once while six busy loops take the machine: each decision is recorded
    or stored, and each call runs once."""
    lab = await make_lab([desk(effects)], script=[many(200), DONE])
    run = await lab.start("desk")
    pending = await lab.open_requests(run, 200, timeout=90)
    async with busy_loops(6):
        receipts = await asyncio.gather(*(run.approve(each, decided_by="lead") for each in pending))
    assert {receipt.state for receipt in receipts} <= {"recorded", "stored"}
    assert (await run.result()).output == "done"
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
    assert (await run.result()).output == "done"
    assert Counter(effects) == Counter(f"wipe t{n}" for n in range(40))


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
    assert (await run.result()).output == "done"
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
    assert (await run.result()).output == "done"
    assert effects == ["wipe t0"]
