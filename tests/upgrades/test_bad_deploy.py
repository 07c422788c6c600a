"""XG4, and whatever else keeps a run from getting on: it is listed with the remedy, and nothing is lost meanwhile."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from handfast import Agent, Approval, Handfast, Run, Trouble, tool
from handfast.cli import exits
from handfast.client.trouble import ATTEMPTS
from handfast.testing import Fail, Lab, Reply, Script, When, call, replay
from handfast.workflows.driver.driver import Driver
from support.commands import Cli
from support.desk import DONE, desk
from support.labs import Effects, MakeLab

WIPE = Reply(call("wipe", {"target": "t"}, "c1"))


@contextmanager
def bad_deploy() -> Iterator[None]:
    """Workers whose workflow code begins with a command that no history has."""
    drive = Driver.drive

    async def drive_differently(self: Driver) -> None:
        sleeping = asyncio.create_task(asyncio.sleep(3600))
        await drive(self)
        sleeping.cancel()

    Driver.drive = drive_differently  # type: ignore[method-assign]
    try:
        yield
    finally:
        Driver.drive = drive  # type: ignore[method-assign]


async def start(lab: Lab) -> Run:
    """Start a run whose failed workflow tasks are tried again soon, as its starter may ask."""
    handle = await lab.client.start_workflow(
        "AgentRun",
        {"agent": "desk", "input": "go"},
        id=lab.task_queue,
        task_queue=lab.task_queue,
        task_timeout=timedelta(seconds=2),
    )
    return lab.watch(lab.hf.run(handle.id))


async def trouble_with(lab: Lab, run: Run) -> Trouble:
    """Wait until the run is listed as needing attention."""
    async with asyncio.timeout(30):
        while True:
            async for trouble in lab.hf.attention():
                if trouble.run == run.id:
                    return trouble
            await asyncio.sleep(0.05)


async def test_a_bad_deploy_needs_attention_and_a_rollback_heals_it(
    make_lab: MakeLab, effects: Effects, cli: Cli
) -> None:
    """XG4: a non-deterministic deploy: the run is listed within 10 s with the remedy, a decision sent meanwhile is
    called stored, and after the rollback the run finishes: one effect, one decision."""
    lab = await make_lab([desk(effects)], script=[WIPE, DONE])
    run = await start(lab)
    request = await lab.next_request(run)
    await lab.stop_worker()
    histories = await lab.histories(run)
    assert await replay(histories) == {}
    with bad_deploy():
        assert "Nondeterminism" in str(await replay(histories))  # as a CI could have said before
        await lab.start_worker()
        began = time.monotonic()
        deciding = asyncio.create_task(run.approve(request, decided_by="lead", decision_id="d1"))
        trouble = await trouble_with(lab, run)
        assert time.monotonic() - began < 10
        again = run.approve(request, decided_by="lead", decision_id="d1")  # the server knows by now
        *receipts, shown, listed, status = await asyncio.gather(
            deciding, again, cli("show", run.id), cli("runs", "--attention", "--json"), run.status()
        )
        assert [receipt.state for receipt in receipts] == ["stored", "stored"]
        await lab.stop_worker()
    assert (trouble.kind, trouble.cause, trouble.agent) == ("task_fails", "NON_DETERMINISTIC_ERROR", "desk")
    assert trouble.attempt >= 2
    assert "Nondeterminism" in trouble.message
    assert trouble.since is not None
    assert "roll the workers back" in trouble.remedy
    assert "NON_DETERMINISTIC_ERROR" in (status.problem or "")
    assert "NON_DETERMINISTIC_ERROR" in shown.out
    assert listed.code == exits.OK
    assert [each["kind"] for each in json.loads(listed.out) if each["run"] == run.id] == ["task_fails"]
    await lab.start_worker()
    assert (await run.result()).output == "done"
    assert (await run.decision("d1")).state == "recorded"
    assert effects == ["wipe t"]
    assert run.id not in [each.run async for each in lab.hf.attention()]


async def test_what_does_not_get_on_needs_attention(
    make_lab: MakeLab, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that nobody serves, one whose deadline no worker noticed, a call on a task queue without workers, and a
    model that fails again and again are listed, each with its remedy; one that waits for a person is not."""

    @tool(task_queue="nobody-polls-this-queue", effect="read_only")
    async def peek() -> str:
        """Look."""
        return "never"

    @tool(approval=Approval(deadline=timedelta(seconds=1)))
    async def charge() -> str:
        """Pay."""
        return "never"

    agents = [Agent(name, instructions=name, model="m", tools=[peek, charge]) for name in ("lost", "late", "failing")]
    lab = await make_lab(
        [*agents, desk(effects)],
        script=Script.rules(
            When(instructions="lost", then=Reply(call("peek", {}, "c1"))),
            When(instructions="late", then=Reply(call("charge", {}, "c1"))),
            When(instructions="failing", then=Fail(500, retry_after=0.01)),
            When(then=WIPE),
        ),
    )
    monkeypatch.setattr("handfast.client.trouble.OVERDUE_AFTER", timedelta(0))
    late, failing, lost, waiting = [await lab.start(name) for name in ("late", "failing", "lost", "desk")]
    unserved = lab.watch(await Handfast(lab.client, task_queue=f"nobody-{lab.task_queue}").start("desk", "go"))
    await lab.next_request(waiting)
    found = {run.id: await trouble_with(lab, run) for run in (failing, lost)}
    await lab.next_request(late)
    await lab.stop_worker()  # before the deadline passes
    found |= {run.id: await trouble_with(lab, run) for run in (late, unserved)}
    assert (found[failing.id].kind, found[failing.id].cause) == ("activity_fails", "handfast.call_model")
    assert found[failing.id].attempt >= ATTEMPTS
    assert (found[lost.id].kind, found[lost.id].cause) == ("no_worker", "nobody-polls-this-queue")
    assert (found[late.id].kind, found[late.id].since) == ("overdue", (await late.pending())[0].deadline)
    assert (found[unserved.id].kind, found[unserved.id].cause) == ("no_worker", f"nobody-{lab.task_queue}")
    assert all("`handfast worker MODULE" in found[run.id].remedy for run in (lost, late, unserved))
    assert waiting.id not in [each.run async for each in lab.hf.attention()]
