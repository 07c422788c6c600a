"""Hooks that hear of agents: start, end, handoff, rejected calls."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import pytest

from handfast import (
    Agent,
    AgentEnd,
    AgentHooks,
    AgentStart,
    Approval,
    Fail as Trip,
    HandoffTaken,
    OutputGuardrail,
    Rejection,
    Replace,
    RunContext,
    handoff,
    tool,
)
from handfast.errors import RunFailedError
from handfast.testing import Fail, Gate, Reply, call, text
from support.evidence import failed_tasks
from support.labs import Effects, MakeLab

DONE = Reply(text("done"))


class Notes(AgentHooks):
    """Writes down what it hears; half of it sync, half async."""

    def __init__(self, effects: Effects, name: str = "") -> None:
        """Write into *effects*, each line under *name*."""
        self._effects = effects
        self._name = name

    def on_agent_start(self, context: RunContext, start: AgentStart) -> None:
        """Note it."""
        self._note(
            f"{'/'.join(context.agent_path)} starts{f' after {start.handed_over_by}' if start.handed_over_by else ''}"
        )

    async def on_agent_end(self, context: RunContext, end: AgentEnd) -> None:
        """Note it."""
        self._note(f"{'/'.join(context.agent_path)} ends: {end.output}")

    def on_handoff(self, context: RunContext, handoff: HandoffTaken) -> None:
        """Note it."""
        self._note(f"{handoff.by} hands over to {handoff.to}")

    async def on_call_rejected(self, context: RunContext, rejection: Rejection) -> None:
        """Note it."""
        self._note(f"{context.agent}: {rejection.tool} {rejection.arguments} not by {rejection.decided_by}")

    def _note(self, line: str) -> None:
        self._effects.append(f"{self._name}{line}")


@tool(approval=True)
def wipe(target: str) -> str:
    """Delete a target."""
    return f"wiped {target}"


async def test_hooks_hear_of_agents_in_their_order(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """The worker's hooks hear of every agent of a run: nested ones, and both sides of a handoff."""
    clerk = Agent("clerk", model="m")
    billing = Agent("billing", model="m", output_type=dict[str, int])
    desk = Agent("desk", model="m", tools=[clerk.as_tool(), wipe], handoffs=[billing])
    script = [
        Reply(call("clerk", {"input": "go"}, "c1")),
        Reply(text("looked")),
        Reply(call("wipe", {"target": "t"}, "c2")),
        Reply(call("transfer_to_billing", {}, "c3")),
        Reply(text('{"cents": 5}')),
    ]
    lab = await make_lab([desk], script=script, hooks=[Notes(effects)], max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.replace_worker()
    await run.reject(request, decided_by="lead")
    assert (await run.result()).output == {"cents": 5}
    assert effects == [
        "desk starts",
        "desk/clerk starts",
        "desk/clerk ends: looked",
        "desk: wipe {'target': 't'} not by lead",
        "desk hands over to billing",
        "billing starts after desk",
        "billing ends: {'cents': 5}",
    ]
    assert await failed_tasks(lab, run) == 0


async def test_an_agents_own_hooks_hear_of_it_alone(make_lab: MakeLab) -> None:
    """Of a handoff the hooks of both agents hear, each once, also where they share one."""
    desks: Effects = []
    bills: Effects = []
    both: Effects = []
    shared = Notes(both)
    billing = Agent("billing", model="m", hooks=[Notes(bills), shared])
    desk = Agent("desk", model="m", handoffs=[billing], hooks=[Notes(desks), shared])
    lab = await make_lab([desk], script=[Reply(call("transfer_to_billing", {}, "c1")), DONE])
    await (await lab.start("desk")).result()
    assert desks == ["desk starts", "desk hands over to billing"]
    assert bills == ["desk hands over to billing", "billing starts after desk", "billing ends: done"]
    assert both == ["desk starts", "desk hands over to billing", "billing starts after desk", "billing ends: done"]


async def test_rejections_are_told_whoever_rejected(make_lab: MakeLab, effects: Effects) -> None:
    """By a deadline, with a reason, without one and by a handoff's approver; nothing is told of what was approved."""

    @tool(approval=Approval(deadline=timedelta(seconds=1)))
    def late(what: str) -> str:
        """Do it."""
        return what

    desk = Agent(
        "desk",
        model="m",
        tools=[wipe, late],
        handoffs=[handoff("desk", name="again", approval=True)],
        rejection_text=lambda context, rejection: f"not by {rejection.decided_by}",
    )
    calls = [
        call("wipe", {"target": "a"}, "c1"),
        call("wipe", {"target": "b"}, "c2"),
        call("late", {"what": "x"}, "c3"),
        call("again", {}, "c4"),
    ]
    lab = await make_lab([desk], script=[Reply(*calls), DONE], hooks=[Notes(effects)])
    run = await lab.start("desk")
    async for request in run.requests():
        if request.call_id == "c1":
            await run.reject(request, reason="no", decided_by="ann")
        elif request.call_id == "c2":
            await run.approve(request, decided_by="ann")
        elif request.call_id == "c4":
            await run.reject(request, decided_by="bob")
    await run.result()
    outputs = lab.model.requests[1].tool_outputs
    assert [outputs[each] for each in ("c1", "c3", "c4")] == ["no", "Nobody decided in time.", "not by bob"]
    assert sorted(line for line in effects if " not by " in line) == [
        "desk: again {} not by bob",
        "desk: late {'what': 'x'} not by None",
        "desk: wipe {'target': 'a'} not by ann",
    ]


async def test_the_end_is_told_of_what_the_run_answers(make_lab: MakeLab, effects: Effects) -> None:
    """An output guardrail's replacement is told, an output that one stops is not; nor is a run that fails."""

    def judge(context: RunContext, output: Any) -> Replace | Trip | None:
        if output == "bad":
            return Trip("rude")
        return Replace("better") if output == "poor" else None

    agent = Agent("desk", model="m", output_guardrails=[OutputGuardrail(judge, name="polite")])
    script = [Reply(text("poor")), Reply(text("bad")), Fail(400)]
    lab = await make_lab([agent], script=script, hooks=[Notes(effects)])
    result = await (await lab.start("desk")).result()
    assert (result.output, [each.guardrail for each in result.guardrails]) == ("better", ["polite"])
    for _ in range(2):
        with pytest.raises(RunFailedError):
            await (await lab.start("desk")).result()
    assert effects == ["desk starts", "desk ends: better", "desk starts", "desk starts"]


async def test_an_output_that_a_tool_gave_is_told_as_well(make_lab: MakeLab, effects: Effects) -> None:
    """Where the first tool's output ends the run, that is the agent's."""

    @tool(effect="read_only")
    def look() -> dict[str, str]:
        """Look."""
        return {"seen": "x" * 20_000}

    agent = Agent("desk", model="m", tools=[look], after_tools="stop_on_first")
    lab = await make_lab([agent], script=[Reply(call("look", {}, "c1"))], hooks=[Notes(effects)])
    assert (await (await lab.start("desk")).result()).output == {"seen": "x" * 20_000}
    assert effects == ["desk starts", f"desk ends: {{'seen': '{'x' * 20_000}'}}"]


class Slow(AgentHooks):
    """Hooks that do what they must not."""

    def __init__(self, gate: asyncio.Event) -> None:
        """Wait for *gate*."""
        self._gate = gate

    async def on_agent_start(self, context: RunContext, start: AgentStart) -> None:
        """Raise."""
        raise SystemExit(1)

    async def on_agent_end(self, context: RunContext, end: AgentEnd) -> None:
        """Wait."""
        await self._gate.wait()
        raise ValueError("no")


async def test_hooks_of_agents_change_nothing(make_lab: MakeLab) -> None:
    """Hooks that raise leave the run as it is; a message that comes while the end is told is answered."""
    gate = asyncio.Event()
    ending = asyncio.Event()

    class Ending(AgentHooks):
        async def on_agent_end(self, context: RunContext, end: AgentEnd) -> None:
            ending.set()

    agent = Agent("desk", model="m", hooks=[Slow(gate), Ending()])
    lab = await make_lab([agent], script=[DONE, Reply(text("again"))])
    run = await lab.start("desk")
    await asyncio.wait_for(ending.wait(), 30)
    await run.send("and this?")
    gate.set()
    result = await run.result()
    assert (result.output, len(lab.model.requests)) == ("again", 2)
    assert await failed_tasks(lab, run) == 0


async def test_each_message_of_a_session_begins_and_ends(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """An agent of a session starts and ends with each message; a run without such hooks has no activity for them."""
    agents = [Agent("desk", model="m", hooks=[Notes(effects)]), Agent("plain", model="m")]
    lab = await make_lab(agents, script=[Reply(text("one")), Reply(text("two")), DONE], max_cached_workflows=cache)
    session = lab.hf.session(f"s-{uuid.uuid4().hex[:8]}", agent="desk")
    for message in ("a", "b"):
        await (await session.send(message)).output(timeout=timedelta(seconds=30))
    assert effects == ["desk starts", "desk ends: one", "desk starts", "desk ends: two"]
    run = await lab.start("plain")
    await run.result()
    history = await lab.client.get_workflow_handle(run.id).fetch_history()
    scheduled = [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert scheduled == ["handfast.call_model"]


async def test_a_start_is_told_again_after_a_crash_and_not_after_a_busy_provider(
    make_lab: MakeLab, effects: Effects
) -> None:
    """Told at least once: each attempt at the first model call tells the start, and no later call does."""
    agent = Agent("desk", model="m", tools=[wipe], hooks=[Notes(effects)])
    script = [Gate("first", DONE), Reply(call("wipe", {"target": "t"}, "c1")), DONE]
    lab = await make_lab([agent], script=script)
    run = await lab.start("desk")
    await lab.model.wait_for_request(1)
    await lab.replace_worker()
    request = await lab.next_request(run)
    await run.approve(request, decided_by="lead")
    await run.result()
    assert effects == ["desk starts", "desk starts", "desk ends: done"]
