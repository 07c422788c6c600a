"""Row H4: a user's own workflow that fails and is begun again by its retry policy, as clients see it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio.client import WorkflowHistory
from temporalio.common import RetryPolicy

from handfast.payloads import events as ev
from handfast.testing import Reply, call, replay
from support.desk import DONE, desk
from support.events import to_the_end, types
from support.labs import Effects, MakeLab
from support.printing import Printing

WIPE = Reply(call("wipe", {"target": "temp"}, "c1"))


async def test_a_workflow_that_is_retried_is_followed(make_lab: MakeLab, effects: Effects) -> None:
    """H4: events and requests go on in the history in which a failed workflow begins again; the lab has it too,
    and waits for nothing in one that has not begun."""
    lab = await make_lab([desk(effects)], script=[WIPE, WIPE, DONE], workflows=[Printing])
    started = await lab.client.start_workflow(
        Printing.run,
        id=f"printing-{lab.task_queue}",
        task_queue=lab.task_queue,
        retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=1), maximum_attempts=2),
    )
    run = lab.watch(lab.hf.run(started.id))
    requests = run.requests()
    async with asyncio.timeout(30):
        first = await anext(requests)
        await started.signal(Printing.burn)
        second = await anext(requests)
    assert [each.id for each in await run.pending()] == [second.id] != [first.id]
    await run.approve(second, decided_by="lead")
    assert await started.result() == "done"
    events = await to_the_end(run)
    told = ["run_started", "request_opened", "run_finished", "workflow_retried", "workflow_finished"]
    happened = [each for each in types(events) if each in told]
    assert happened == [*told[:4], *told[:3], told[4]]
    [retried] = [each for each in events if isinstance(each, ev.WorkflowRetried)]
    assert (retried.failure, retried.message) == ("Fire", "the printer is on fire")
    assert effects == ["wipe temp"]
    _, again = await lab.histories(run)
    waiting = WorkflowHistory(again.workflow_id, again.events[:1])  # as it was before its retry was due
    async with asyncio.timeout(10):
        assert await replay([waiting]) == {}
