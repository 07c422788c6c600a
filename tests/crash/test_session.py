"""Scenario row F4: the worker is killed between an approved tool's output and the next model call."""

from __future__ import annotations

from datetime import timedelta

from handfast.testing import Hang, Reply, call, text
from support.conversations import kinds, talk_to
from support.crash.judge import Judge
from support.crash.till_runs import till
from support.labs import MakeLab


async def test_a_worker_that_dies_after_the_tool_leaves_nothing_to_write_again(make_lab: MakeLab, judge: Judge) -> None:
    """F4: killed after an approved tool ran, a worker leaves the session whole: its successor asks the model with the
    one output, and nothing is run or written again."""
    charge, done = Reply(call("charge", {"order": "7"}, "c1")), Reply(text("charged"))
    lab = await till(make_lab, judge, charge, Hang(), done)
    session = talk_to(lab, "till")
    turn = await session.send("charge order 7")
    await session.approve(await lab.next_request(session), decided_by="lead")
    await lab.model.wait_for_request(2)
    await lab.kill_worker()
    await lab.start_worker()
    assert await turn.output(timeout=timedelta(seconds=60)) == "charged"
    assert judge.lines.count("effect charge 7") == 1
    assert kinds(await session.items()) == ["user", "function_call", "function_call_output", "assistant"]
    assert kinds(lab.model.requests[-1].body["input"]) == ["user", "function_call", "function_call_output"]
