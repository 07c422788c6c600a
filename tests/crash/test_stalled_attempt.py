"""DESIGN principle 2: never cache by position, or a stalled attempt's lost reply is used as if it were recorded."""

from __future__ import annotations

import os
import signal

from conftest import MakeLab
from crash.judge import Judge
from crash.test_p4_in_doubt import till
from holdfast.testing import Gate, Reply, Script, call, text
from holdfast.testing.responses_server import RecordedRequest
from holdfast.testing.script import Step


def played(request: RecordedRequest) -> Step:
    """Every attempt at the first turn gets another reply; the very first one is held back."""
    if request.turns:
        return Reply(text("done"))
    reply = Reply(call("charge", {"order": f"n{request.number}"}, f"call-{request.number}"))
    return Gate("late", then=reply) if request.number == 1 else reply


async def test_a_lost_reply_never_gets_into_a_later_request(make_lab: MakeLab, judge: Judge) -> None:
    """A worker stalls with a model reply, another's retry is recorded: back, the first sends what was recorded."""
    lab = await till(make_lab, judge, script=Script.of(played), environment={"HOLDFAST_CONCURRENCY": "1"})
    [stalled] = lab.processes
    run = await lab.start("till")
    await lab.model.wait_for_request(1)
    os.kill(stalled.pid, signal.SIGSTOP)
    other = await lab.spawn_worker("crash.till:till")
    request = await lab.next_request(run, timeout=90)
    lab.model.open("late")
    os.kill(stalled.pid, signal.SIGCONT)
    await lab.model.wait_for_end(1)
    other.send_signal(signal.SIGTERM)
    await other.wait()
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert request.arguments is not None
    order = request.arguments["order"]
    assert order != "n1"
    sent = [item["call_id"] for item in lab.model.requests[-1].body["input"] if item["type"] != "message"]
    assert sent == [request.call_id, request.call_id]
    assert judge.lines == [f"begin charge {order}", f"effect charge {order}"]
    assert lab.model.violations == []
