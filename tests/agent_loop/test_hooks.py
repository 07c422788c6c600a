"""Hooks: what they hear, and that they change nothing (B2, K5, M3)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from handfast import Agent, AgentHooks, ModelEnd, ModelStart, RunContext, ToolContext, ToolEnd, tool
from handfast.errors import RunCancelledError
from handfast.testing import Fail, Reply, call, text
from support.labs import Effects, MakeLab


class Notes(AgentHooks):
    """Writes down what it hears; half of it sync, half async."""

    def __init__(self, effects: Effects, name: str = "") -> None:
        """Write into *effects*, each line under *name*."""
        self._effects = effects
        self._name = name

    def on_model_start(self, context: RunContext, start: ModelStart) -> None:
        """Note it."""
        self._note(f"{context.agent} asks {start.model} about {start.items} with {','.join(start.tools)}")

    async def on_model_end(self, context: RunContext, end: ModelEnd) -> None:
        """Note it."""
        assert end.seconds >= 0
        self._note(f"{context.agent} got {','.join(end.calls) or end.text} for {end.usage.requests}")

    async def on_tool_start(self, context: ToolContext) -> None:
        """Note it."""
        self._note(f"{context.tool} {context.arguments} starts")

    def on_tool_end(self, context: ToolContext, end: ToolEnd) -> None:
        """Note it."""
        self._note(f"{context.tool} {'failed' if end.failed else 'ended'}: {end.output}")

    def _note(self, line: str) -> None:
        self._effects.append(f"{self._name}{line}")


def desk(effects: Effects, *hooks: AgentHooks) -> Agent:
    """An agent with a gated tool, and one that raises."""

    @tool(approval=True)
    def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        return f"wiped {target}"

    @tool
    async def broken(ctx: ToolContext) -> str:
        """Raise."""
        raise ValueError(f"not for {ctx.agent}")

    return Agent("desk", model="m", tools=[wipe, broken], hooks=hooks)


DONE = Reply(text("done"))


async def test_hooks_hear_model_calls_and_tools(make_lab: MakeLab, effects: Effects) -> None:
    """The worker's hooks and the agent's own hear every model call and every tool that ran."""
    worker: Effects = []
    script = [Reply(call("wipe", {"target": "t"})), Reply(call("broken", {})), DONE]
    lab = await make_lab([desk(effects, Notes(effects))], script=script, hooks=[Notes(worker, "w: ")])
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    await run.result()
    assert effects == [
        "desk asks m about 1 with wipe,broken",
        "desk got wipe for 1",
        "wipe {'target': 't'} starts",
        "wipe t",
        "wipe ended: wiped t",
        "desk asks m about 3 with wipe,broken",
        "desk got broken for 1",
        "broken {} starts",
        "broken failed: Error: ValueError: not for desk",
        "desk asks m about 5 with wipe,broken",
        "desk got done for 1",
    ]
    assert worker == [f"w: {line}" for line in effects if line != "wipe t"]


async def test_hooks_of_a_rejected_call_never_run(make_lab: MakeLab, effects: Effects) -> None:
    """B2: neither the tool nor its hooks run for a rejected call, also after a restart and a repeated decision."""
    lab = await make_lab([desk(effects, Notes(effects))], script=[Reply(call("wipe", {"target": "t"}, "c1")), DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.replace_worker()
    for _ in range(2):
        await run.reject(request, decided_by="lead", reason="no", decision_id="d1")
    await run.result()
    assert [line for line in effects if line.startswith("wipe")] == []
    outputs = [item for item in lab.model.requests[1].body["input"] if item["type"] == "function_call_output"]
    assert [(item["call_id"], item["output"]) for item in outputs] == [("c1", "no")]


@pytest.mark.parametrize("kind", ["raises", "hangs", "exits"])
@pytest.mark.parametrize("event", ["on_tool_start", "on_tool_end", "on_model_start", "on_model_end"])
async def test_a_hook_that_fails_changes_nothing(
    make_lab: MakeLab, effects: Effects, monkeypatch: pytest.MonkeyPatch, *, kind: str, event: str
) -> None:
    """M3: a hook that raises, hangs or exits, after the side effect too, costs nothing: one effect, its output kept."""
    monkeypatch.setattr("handfast.activities.runtime.hooks.HOOK_S", 0.2)

    async def misbehave(_self: AgentHooks, *_told: object) -> None:
        if kind == "raises":
            raise ValueError("broken hook")
        if kind == "exits":
            raise SystemExit
        await asyncio.Event().wait()

    class Broken(AgentHooks):
        """Has one broken method."""

    # The check of signatures is for people; this method takes anything.
    agent_hooks = Broken()
    agent = desk(effects, agent_hooks)
    monkeypatch.setattr(Broken, event, misbehave, raising=False)
    lab = await make_lab([agent], script=[Reply(call("wipe", {"target": "t"}, "c1")), DONE])
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).output == "done"
    assert effects == ["wipe t"]
    [output] = [item for item in lab.model.requests[1].body["input"] if item["type"] == "function_call_output"]
    assert output["output"] == "wiped t"
    assert len(lab.model.requests) == 2


async def test_no_end_is_told_of_a_cancelled_call(make_lab: MakeLab, effects: Effects) -> None:
    """K5: a tool observes its cancellation; on_tool_end is not told of it."""
    started = asyncio.Event()

    @tool
    async def slow() -> str:
        """Wait for ever."""
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            effects.append("cancelled")
            raise
        return "never"

    agent = Agent("desk", model="m", tools=[slow], hooks=[Notes(effects)])
    lab = await make_lab([agent], script=[Reply(call("slow", {}))])
    run = await lab.start("desk")
    await asyncio.wait_for(started.wait(), 20)
    await run.cancel("enough")
    with pytest.raises(RunCancelledError):
        await run.result()
    assert [line for line in effects if not line.startswith("desk")] == ["slow {} starts", "cancelled"]


async def test_a_call_that_is_cancelled_while_a_hook_listens_does_not_begin(
    make_lab: MakeLab, effects: Effects
) -> None:
    """K5: a cancel that comes while on_tool_start is told keeps the tool from beginning."""
    listening = asyncio.Event()

    class Slow(AgentHooks):
        async def on_tool_start(self, context: ToolContext) -> None:
            listening.set()
            await asyncio.Event().wait()

    lab = await make_lab([desk(effects, Slow())], script=[Reply(call("wipe", {"target": "t"}))])
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    await asyncio.wait_for(listening.wait(), 20)
    await run.cancel("enough")
    with pytest.raises(RunCancelledError):
        await run.result()
    assert effects == []


async def test_hooks_are_told_again_by_a_further_attempt(make_lab: MakeLab, effects: Effects) -> None:
    """At least once: a model call that is tried again tells its start again, and its end once."""
    lab = await make_lab([desk(effects, Notes(effects))], script=[Fail(500), DONE])
    await (await lab.start("desk")).result()
    assert effects == ["desk asks m about 1 with wipe,broken"] * 2 + ["desk got done for 1"]


async def test_an_output_outlives_a_worker_that_stops_while_a_hook_listens(make_lab: MakeLab, effects: Effects) -> None:
    """M3: a worker that is told to stop while on_tool_end is told still hands in the output; nothing is in doubt."""
    listening = asyncio.Event()

    class Slow(AgentHooks):
        async def on_tool_end(self, context: ToolContext, end: ToolEnd) -> Any:
            listening.set()
            await asyncio.Event().wait()

    lab = await make_lab([desk(effects, Slow())], script=[Reply(call("wipe", {"target": "t"})), DONE])
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    await asyncio.wait_for(listening.wait(), 20)
    await lab.replace_worker()
    assert (await run.result()).output == "done"
    assert effects == ["wipe t"]
