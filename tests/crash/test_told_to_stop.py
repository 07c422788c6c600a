"""A worker that is told to stop: its tools may finish within the grace, and what follows where they do not."""

from __future__ import annotations

import asyncio
import signal

from handfast import GiveUp
from handfast.payloads.tool_call import Attempt
from handfast.testing import Lab, Reply, call
from handfast.workflows.loop.verdicts import OUTCOME_UNKNOWN
from support.crash.judge import Judge
from support.crash.till_runs import DONE, till
from support.desk import outputs
from support.labs import MakeLab

TARGET = "support.crash.till:till"


async def hasty(lab: Lab) -> asyncio.subprocess.Process:
    """Replace the lab's worker by one that gives running tools a second."""
    await lab.stop_worker()
    return await lab.spawn_worker(TARGET, options=["--grace", "1"])


async def stopped(process: asyncio.subprocess.Process) -> int | None:
    """Tell it to stop, and wait until it has."""
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        return await process.wait()


async def test_a_tool_that_ends_within_the_grace_ran_once(make_lab: MakeLab, judge: Judge) -> None:
    """XA12: SIGTERM in the middle of a tool lets it end: its result counts, it ran once, the run goes on elsewhere."""
    lab = await till(make_lab, judge, Reply(call("charge", {"order": "7"}, "c1")), DONE)
    [worker] = lab.processes
    judge.hold("effect charge 7")
    run = await lab.start("till")
    await run.approve(await lab.next_request(run), decided_by="lead")
    await judge.heard("effect charge 7")
    worker.send_signal(signal.SIGTERM)
    judge.release("effect charge 7")
    async with asyncio.timeout(30):
        assert await worker.wait() == 0
    await lab.start_worker()
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", "charged 7")]
    assert judge.lines == ["begin charge 7", "effect charge 7"]


async def test_a_gated_tool_beyond_the_grace_is_asked_of_a_person(make_lab: MakeLab, judge: Judge) -> None:
    """XA12: a gated call that still runs when the grace is over is in doubt: not repeated, and a person is asked, who
    reads which attempt it was."""
    lab = await till(make_lab, judge, Reply(call("charge", {"order": "7"}, "c1")), DONE)
    worker = await hasty(lab)
    judge.hold("begin charge 7")
    run = await lab.start("till")
    await run.approve(await lab.next_request(run), decided_by="lead")
    await judge.heard("begin charge 7")
    assert await stopped(worker) == 0
    judge.release("begin charge 7")
    await lab.start_worker()
    doubt = await lab.next_request(run)
    assert (doubt.kind, doubt.tool) == ("in_doubt", "charge")
    assert doubt.facts is not None
    assert doubt.facts["ended"] == "the worker shut down while the tool was running"
    attempt = Attempt.from_wire(doubt.facts)
    assert (attempt.attempt, str(attempt.worker).partition("@")[0]) == (1, str(worker.pid))
    assert None not in (attempt.started_at, attempt.alive_at)
    await run.decide(doubt, GiveUp(), decided_by="lead")
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", OUTCOME_UNKNOWN)]
    assert judge.lines == ["begin charge 7"]


async def test_a_tool_that_only_reads_is_retried_elsewhere_beyond_the_grace(make_lab: MakeLab, judge: Judge) -> None:
    """XA12: a call that may be repeated is taken over by another worker when the first one's grace is over."""
    lab = await till(make_lab, judge, Reply(call("look", {"order": "7"}, "c1")), DONE)
    worker = await hasty(lab)
    judge.hold("look 7")
    run = await lab.start("till")
    await judge.heard("look 7")
    assert await stopped(worker) == 0
    judge.release("look 7")
    await lab.start_worker()
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", "paid")]
    assert judge.lines == ["look 7", "look 7"]
