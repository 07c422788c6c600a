"""DESIGN principle 2: never cache by position, or a stalled attempt's lost reply is used as if it were recorded."""

from __future__ import annotations

import os
import signal

from temporalio.client import Client

from handfast import Agent, tool
from handfast.server import EmbeddedServer
from handfast.testing import Gate, Lab, Reply, Script, call, text
from handfast.testing.responses_server import RecordedRequest
from handfast.testing.script import Step
from support.crash.grpc_proxy import Delay, GrpcProxy, Point
from support.crash.judge import Judge
from support.crash.till_runs import LONG_S, till
from support.labs import Effects, MakeLab


def played(request: RecordedRequest) -> Step:
    """Every attempt at the first turn gets another reply; the very first one is held back."""
    if request.turns:
        return Reply(text("done"))
    reply = Reply(call("charge", {"order": f"n{request.number}"}, f"call-{request.number}"))
    return Gate("late", then=reply) if request.number == 1 else reply


async def test_a_worker_that_stalled_sends_what_another_recorded(make_lab: MakeLab, judge: Judge) -> None:
    """A worker stalls with a model reply, another's retry is recorded: back, the first sends what was recorded."""
    lab = await till(make_lab, judge, script=Script.of(played), environment={"HANDFAST_CONCURRENCY": "1"})
    [stalled] = lab.processes
    run = await lab.start("till")
    await lab.model.wait_for_request(1)
    os.kill(stalled.pid, signal.SIGSTOP)
    other = await lab.spawn_worker("support.crash.till:till")
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


async def test_a_lost_reply_never_gets_into_a_later_request(server: EmbeddedServer, effects: Effects) -> None:
    """A model's reply reaches the server when that has given the attempt up, and the same worker made another, which is
    recorded: of the two that it knows it sends the recorded one from then on."""

    @tool
    async def charge(order: str) -> str:
        """Charge an order."""
        effects.append(order)
        return "charged"

    def each_anew(request: RecordedRequest) -> Step:
        return Reply(text("done")) if request.turns else Reply(call("charge", {"order": str(request.number)}))

    async with GrpcProxy(server.address) as proxy:
        proxy.plan(Point("RespondActivityTaskCompleted", "handfast.call_model 1", "before"), Delay(LONG_S))
        client = await Client.connect(proxy.address)
        async with Lab([Agent("till", tools=[charge])], script=Script.of(each_anew), client=client) as lab:
            assert (await (await lab.start("till")).result()).output == "done"
            assert proxy.hit.is_set()
            lost, recorded, later = lab.model.requests
    assert lost.items == recorded.items
    assert [item["arguments"] for item in later.items if item["type"] == "function_call"] == ['{"order":"2"}']
    assert effects == ["2"]
    assert lab.model.violations == []
