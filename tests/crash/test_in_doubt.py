"""Scenario rows P4 and P5: the worker is killed in the middle of a tool."""

from __future__ import annotations

from typing import Any

import pytest

from handfast import GiveUp, Ran, Run, RunAgain
from handfast.errors import VerdictNotAllowedError
from handfast.payloads.tool_call import Attempt
from handfast.testing import Lab, Reply, call
from handfast.workflows.loop.verdicts import OUTCOME_UNKNOWN
from support.crash.judge import Judge
from support.crash.till_runs import DONE, replies_and_outputs, till
from support.desk import outputs
from support.labs import MakeLab


@pytest.mark.parametrize(
    ("verdict", "output", "begun"),
    [
        pytest.param(Ran(output="charged, says the bank"), "charged, says the bank", 1, id="it-ran"),
        pytest.param(RunAgain(), "charged 7", 2, id="run-it-again"),
        pytest.param(GiveUp(), OUTCOME_UNKNOWN, 1, id="give-up"),
    ],
)
async def test_a_gated_call_killed_in_the_middle_asks_a_person(
    make_lab: MakeLab, judge: Judge, verdict: Any, output: str, begun: int
) -> None:
    """P4: the call is not repeated; a person reads which attempt began where and when, and says whether it ran; its
    sibling went on meanwhile."""
    lab = await till(
        make_lab, judge, Reply(call("charge", {"order": "7"}, "c1"), call("look", {"order": "7"}, "c2")), DONE
    )
    judge.hold("begin charge 7")
    run = await lab.start("till")
    approval = await lab.next_request(run)
    await run.approve(approval, decided_by="lead")
    await judge.heard("begin charge 7")
    await replies_and_outputs(lab, run, 2)  # the sibling's output is recorded: a kill before that would repeat it
    [killed] = lab.processes
    await lab.kill_worker()
    judge.release("begin charge 7")
    await lab.start_worker()
    doubt = await lab.next_request(run)
    assert (doubt.kind, doubt.tool, doubt.arguments) == ("in_doubt", "charge", {"order": "7"})
    assert doubt.verdicts == ["ran", "run_again", "give_up"]
    assert doubt.facts is not None
    assert doubt.facts["ended"] == "TimeoutHeartbeat"
    attempt = Attempt.from_wire(doubt.facts)
    assert (attempt.attempt, str(attempt.worker).partition("@")[0]) == (1, str(killed.pid))
    assert attempt.started_at is not None
    assert attempt.alive_at is not None
    assert attempt.started_at <= attempt.alive_at <= doubt.requested_at
    with pytest.raises(VerdictNotAllowedError, match="takes ran, run_again, give_up, not approve"):
        await run.approve(doubt, decided_by="lead")
    await run.decide(doubt, verdict, decided_by="lead")
    await run.result()
    assert outputs(lab) == [("c1", output), ("c2", "paid")]
    assert judge.lines.count("begin charge 7") == begun
    assert judge.lines.count("effect charge 7") == begun - 1
    assert judge.lines.count("look 7") == 1


async def test_an_ungated_call_killed_in_the_middle_is_told_to_the_model(make_lab: MakeLab, judge: Judge) -> None:
    """P4: without a gate nobody is asked: the model reads that the outcome is unknown, and nothing is repeated."""
    lab = await till(make_lab, judge, Reply(call("ship", {"order": "7"}, "c1")), DONE)
    judge.hold("begin ship 7")
    run = await lab.start("till")
    await judge.heard("begin ship 7")
    await lab.kill_worker()
    judge.release("begin ship 7")
    await lab.start_worker()
    await run.result()
    assert outputs(lab) == [("c1", OUTCOME_UNKNOWN)]
    assert judge.lines == ["begin ship 7"]


async def test_an_idempotent_call_is_retried_with_the_same_key(make_lab: MakeLab, judge: Judge) -> None:
    """P5: the same kill on an idempotent tool repeats it by itself, under the same idempotency key."""
    lab = await till(make_lab, judge, Reply(call("sync", {"order": "7"}, "c1")), DONE)
    judge.hold("effect sync 7")
    run = await lab.start("till")
    await judge.heard("effect sync 7")
    await lab.kill_worker()
    judge.release("effect sync 7")
    await lab.start_worker()
    await run.result()
    [(_, output)] = outputs(lab)
    assert output == "synced in attempt 2"
    keys = [line for line in judge.lines if line.startswith("key sync")]
    assert len(keys) == 2
    assert len(set(keys)) == 1


async def killed_in_two_tools(make_lab: MakeLab, judge: Judge, point: str) -> tuple[Lab, Run]:
    """A run whose worker was killed at a point of two tools of one reply: one may be repeated, the other not."""
    reply = Reply(call("charge", {"order": "7"}, "c1"), call("sync", {"order": "7"}, "c2"))
    lab = await till(make_lab, judge, reply, DONE)
    points = [f"{point} {tool} 7" for tool in ("charge", "sync")]
    for each in points:
        judge.hold(each)
    run = await lab.start("till")
    await run.approve(await lab.next_request(run), decided_by="lead")
    for each in points:
        await judge.heard(each)
    await lab.kill_worker()
    for each in points:
        judge.release(each)
    await lab.start_worker()
    return lab, run


async def resolved(lab: Lab, run: Run) -> None:
    """Say of the one call in doubt that it ran, and let the run end."""
    [doubt] = await lab.open_requests(run, 1)
    assert (doubt.kind, doubt.tool) == ("in_doubt", "charge")
    await run.decide(doubt, Ran(output="charged, says the bank"), decided_by="lead")
    await run.result()
    assert outputs(lab) == [("c1", "charged, says the bank"), ("c2", "synced in attempt 2")]


async def test_a_kill_inside_the_body_before_the_effect(make_lab: MakeLab, judge: Judge) -> None:
    """XA5: killed before the effect, the idempotent call takes effect once, in its second attempt; the other one took
    none, is not begun again, and a person is asked."""
    lab, run = await killed_in_two_tools(make_lab, judge, "begin")
    await resolved(lab, run)
    assert (judge.lines.count("begin charge 7"), judge.lines.count("effect charge 7")) == (1, 0)
    assert (judge.lines.count("begin sync 7"), judge.lines.count("effect sync 7")) == (2, 1)


async def test_a_kill_after_the_effect_before_the_return(make_lab: MakeLab, judge: Judge) -> None:
    """XA6: killed after the effect, the idempotent call repeats it under the same key, which is one effect; the other
    one took effect once, is not begun again, and a person is asked."""
    lab, run = await killed_in_two_tools(make_lab, judge, "effect")
    await resolved(lab, run)
    assert (judge.lines.count("begin charge 7"), judge.lines.count("effect charge 7")) == (1, 1)
    assert judge.lines.count("effect sync 7") == 2
    assert len({line for line in judge.lines if line.startswith("key sync 7")}) == 1
