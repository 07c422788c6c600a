"""Scenario rows E: handoffs, and the approvals around them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel
from temporalio.api.enums.v1 import EventType

from handfast import Agent, Handfast, HandoffHistory, RunContext, handoff, messages_only, tool
from handfast.errors import RunFailedError
from handfast.history.reader import history_of
from handfast.testing import Fail, Lab, Reply, call, text
from support.labs import Effects, MakeLab

DONE = Reply(text("done"))
ENDED = (EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED)
TO_B = "transfer_to_billing"


def billing(effects: Effects, **options: Any) -> Agent:
    """The agent that goes on, with a gated tool of its own."""

    @tool(approval=True)
    async def refund(order: str) -> str:
        """Refund an order."""
        effects.append(f"refund {order}")
        return f"refunded {order}"

    options.setdefault("tools", [refund])
    return Agent("billing", instructions="You are billing.", description="Handles money.", model="m", **options)


def front(effects: Effects, *handoffs: Any) -> Agent:
    """The agent that hands over, with a gated tool of its own."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        return f"wiped {target}"

    return Agent("front", instructions="You are front.", model="m", tools=[wipe], handoffs=list(handoffs))


def read(lab: Lab, request: int) -> list[tuple[str, Any]]:
    """The call outputs that a model request carried, in its order."""
    return [
        (item["call_id"], item["output"])
        for item in lab.model.requests[request - 1].body["input"]
        if item["type"] == "function_call_output"
    ]


@pytest.mark.quick
async def test_the_approval_comes_first_then_the_handoff(make_lab: MakeLab, effects: Effects) -> None:
    """E1: of [gated call, handoff] the call is decided and run, then the other agent goes on; the first is not asked
    again."""
    lab = await make_lab(
        [front(effects, billing(effects))],
        script=[Reply(call("wipe", {"target": "t"}, "c1"), call(TO_B, {}, "h1")), DONE],
    )
    run = await lab.start("front")
    request = await lab.next_request(run)
    assert request.tool == "wipe"
    assert len(lab.model.requests) == 1
    await run.approve(request, decided_by="lead")
    result = await run.result()
    assert (result.output, result.agent) == ("done", "billing")
    assert effects == ["wipe t"]
    assert [each.body["instructions"] for each in lab.model.requests] == ["You are front.", "You are billing."]
    assert read(lab, 2) == [("c1", "wiped t"), ("h1", "The agent billing goes on from here.")]
    [offered] = [each for each in lab.model.requests[0].body["tools"] if each["name"] == TO_B]
    assert offered["description"] == "Handles money."
    assert lab.model.violations == []


async def test_a_rejection_and_the_handoff_both_give_their_output(make_lab: MakeLab, effects: Effects) -> None:
    """E2: with the gated call rejected, the next agent reads the rejection, then the handoff, and goes on."""
    lab = await make_lab(
        [front(effects, billing(effects))],
        script=[Reply(call(TO_B, {}, "h1"), call("wipe", {"target": "t"}, "c1")), DONE],
    )
    run = await lab.start("front")
    await run.reject(await lab.next_request(run), decided_by="lead", reason="no")
    assert (await run.result()).agent == "billing"
    assert read(lab, 2) == [("h1", "The agent billing goes on from here."), ("c1", "no")]
    assert effects == []


async def test_anyone_with_the_runs_id_continues_the_next_agent(make_lab: MakeLab, effects: Effects) -> None:
    """E3: the next agent's request is decided by someone who holds the run's id and nothing else, after a restart."""
    lab = await make_lab(
        [front(effects, "billing"), billing(effects)],
        script=[Reply(call(TO_B, {}, "h1")), Reply(call("refund", {"order": "7"}, "c1")), DONE],
    )
    started = await lab.start("front")
    await lab.next_request(started)
    await lab.replace_worker()
    other = Handfast(lab.client, task_queue=lab.task_queue).run(started.id)
    [request] = await other.pending()
    assert (request.agent, request.agent_path, request.tool) == ("billing", ["billing"], "refund")
    assert (await other.status()).agent == "billing"
    await other.approve(request, decided_by="lead")
    assert (await other.result()).agent == "billing"
    assert effects == ["refund 7"]


async def test_a_filtered_conversation_stays_filtered(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """E4: what a filter left out stays out of the next agent's requests over a pause; the transcript keeps it."""
    lab = await make_lab(
        [front(effects, handoff(billing(effects), filter=messages_only))],
        script=[
            Reply(call("wipe", {"target": "t"}, "c1")),
            Reply(text("wiped; over to billing"), call(TO_B, {}, "h1")),
            Reply(call("refund", {"order": "7"}, "c2")),
            DONE,
        ],
        max_cached_workflows=cache,
    )
    run = await lab.start("front", "please")
    await run.reject(await lab.next_request(run), decided_by="lead", reason="no")
    async for request in run.requests():
        if request.tool == "refund":
            await lab.replace_worker()
            await run.approve(request, decided_by="lead")
            break
    await run.result()
    said = ["please", "wiped; over to billing"]
    for number in (3, 4):
        items = lab.model.requests[number - 1].body["input"]
        assert [item["content"][0]["text"] for item in items if item["type"] == "message"] == said
    assert read(lab, 3) == []
    assert read(lab, 4) == [("c2", "refunded 7")]
    whole = await lab.client.get_workflow_handle(run.id).query("transcript", {"whole": True})
    kinds = [item["type"] for block in whole["blocks"] for item in block["items"]]
    assert kinds.count("function_call_output") == 3
    assert lab.model.violations == []


async def test_on_handoff_is_called_once(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """E5: what follows a handoff fails, is retried and replayed by another worker; the callback is not repeated."""

    def told(context: RunContext) -> None:
        effects.append(f"{context.agent} hands over")

    lab = await make_lab(
        [front(effects, handoff(billing(effects), on_handoff=told))],
        script=[Reply(call(TO_B, {}, "h1")), Fail(500), Reply(call("refund", {"order": "7"}, "c1")), DONE],
        max_cached_workflows=cache,
    )
    run = await lab.start("front")
    request = await lab.next_request(run)
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    await run.result()
    assert effects == ["front hands over", "refund 7"]


async def test_on_handoff_waits_for_a_worker_that_has_it(make_lab: MakeLab, effects: Effects) -> None:
    """E5: approved while only an older worker runs, which lacks the handoff: the callback is not skipped, it is called
    once by the worker that has it, and the handoff takes place then."""

    def told(_context: RunContext) -> None:
        effects.append("told")

    newer = [front(effects, handoff(billing(effects), on_handoff=told, approval=True))]
    lab = await make_lab(newer, script=[Reply(call(TO_B, {}, "h1")), DONE])
    run = await lab.start("front")
    request = await lab.next_request(run)
    await lab.stop_worker()
    await lab.start_worker([front(effects), billing(effects)])
    await run.approve(request, decided_by="lead")
    async for event in history_of(lab.client.get_workflow_handle(run.id), wait=True):
        if event.HasField("timer_started_event_attributes"):
            break  # the older worker refused, and the run waits before it tries again
        assert event.event_type not in ENDED, "it did not wait"
    await lab.stop_worker()
    await lab.start_worker(newer)
    assert (await run.result()).agent == "billing"
    assert effects == ["told"]


async def test_a_stop_at_a_handoff_ends_before_the_next_agent(make_lab: MakeLab, effects: Effects) -> None:
    """E6: told to stop, a run finishes the turn of the handoff and keeps it; the next agent's model is not called."""
    lab = await make_lab(
        [front(effects, billing(effects))],
        script=[Reply(text("moment"), call("wipe", {"target": "t"}, "c1"), call(TO_B, {}, "h1"))],
    )
    run = await lab.start("front")
    request = await lab.next_request(run)
    await lab.client.get_workflow_handle(run.id).signal("stop", {"reason": "enough"})
    await run.approve(request, decided_by="lead")
    result = await run.result()
    assert (result.output, result.agent, result.stopped) == ("moment", "billing", "enough")
    assert effects == ["wipe t"]
    assert len(lab.model.requests) == 1
    whole = await lab.client.get_workflow_handle(run.id).query("transcript")
    assert [item["type"] for item in whole["blocks"][-1]["items"]] == ["function_call_output"]


async def test_a_stop_that_comes_with_the_start_is_not_lost(make_lab: MakeLab, effects: Effects) -> None:
    """A stop that is there before the run's first task ends it before the first model call."""
    lab = await make_lab([front(effects, billing(effects))], script=[])
    await lab.stop_worker()
    run = await lab.start("front")
    await lab.client.get_workflow_handle(run.id).signal("stop", "not needed")
    await lab.start_worker()
    result = await run.result()
    assert (result.output, result.stopped, result.turns) == (None, "not needed", 0)
    assert lab.model.requests == []


class Reason(BaseModel):
    """What the model says along with a handoff."""

    why: str


async def test_a_gated_handoff_asks_and_tells_its_input(make_lab: MakeLab, effects: Effects) -> None:
    """A gated handoff is a request of its own kind; approved with edited input, user code is told the edited one."""

    def told(_context: RunContext, given: Reason) -> None:
        effects.append(given.why)

    lab = await make_lab(
        [front(effects, handoff(billing(effects), input=Reason, on_handoff=told, approval=True))],
        script=[Reply(call(TO_B, {"why": "money"}, "h1")), DONE],
    )
    run = await lab.start("front")
    request = await lab.next_request(run)
    assert (request.kind, request.tool, request.arguments) == ("handoff", TO_B, {"why": "money"})
    await run.approve(request, decided_by="lead", arguments={"why": "a refund"})
    assert (await run.result()).agent == "billing"
    assert effects == ["a refund"]


async def test_a_rejected_handoff_leaves_the_agent_in_place(make_lab: MakeLab, effects: Effects) -> None:
    """Of two handoffs the first one that is allowed wins: the rejected one gives its reason, a third is ignored."""
    clerk = Agent("clerk", instructions="You are the clerk.", model="m")
    other = Agent("other", model="m")
    lab = await make_lab(
        [front(effects, handoff(billing(effects), approval=True), clerk, other)],
        script=[
            Reply(call(TO_B, {}, "h1"), call("transfer_to_clerk", {}, "h2"), call("transfer_to_other", {}, "h3")),
            DONE,
        ],
    )
    run = await lab.start("front")
    await run.reject(await lab.next_request(run), decided_by="lead", reason="not to billing")
    assert (await run.result()).agent == "clerk"
    assert read(lab, 2) == [
        ("h1", "not to billing"),
        ("h2", "The agent clerk goes on from here."),
        ("h3", "This handoff was ignored: another one of the same reply took place."),
    ]


async def test_agents_may_hand_over_in_circles(make_lab: MakeLab, effects: Effects) -> None:
    """Two agents that name each other hand over to and fro in one run, within its one limit of turns."""
    ping = Agent("ping", instructions="ping", model="m", handoffs=["pong"], max_turns=4)
    pong = Agent("pong", instructions="pong", model="m", handoffs=["ping"], max_turns=100)
    to = {name: Reply(call(f"transfer_to_{name}", {})) for name in ("ping", "pong")}
    lab = await make_lab([ping, pong], script=[to["pong"], to["ping"], to["pong"], to["ping"]])
    run = await lab.start("ping")
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert failed.value.kind == "MaxTurnsExceeded"
    assert [each.body["instructions"] for each in lab.model.requests] == ["ping", "pong", "ping", "pong"]


async def test_a_handoff_whose_callback_raises_does_not_take_place(make_lab: MakeLab, effects: Effects) -> None:
    """A callback that raises keeps the first agent in place, which reads why."""

    def told(_context: RunContext) -> None:
        raise RuntimeError("no desk is open")

    lab = await make_lab(
        [front(effects, handoff(billing(effects), on_handoff=told))], script=[Reply(call(TO_B, {}, "h1")), DONE]
    )
    run = await lab.start("front")
    assert (await run.result()).agent == "front"
    [(_, output)] = read(lab, 2)
    assert output == "Error: the handoff did not take place: RuntimeError: no desk is open"


async def test_a_filter_that_raises_fails_the_run(make_lab: MakeLab, effects: Effects) -> None:
    """Without its filter's answer the next agent is not called: it must not see what would have been left out."""

    def broken(_context: RunContext, _history: HandoffHistory) -> list[Any]:
        raise RuntimeError("secret")

    lab = await make_lab(
        [front(effects, handoff(billing(effects), filter=broken))], script=[Reply(call(TO_B, {}, "h1"))]
    )
    run = await lab.start("front")
    with pytest.raises(RunFailedError, match="the filter of transfer_to_billing raised") as failed:
        await run.result()
    assert failed.value.kind == "HandoffFailed"
