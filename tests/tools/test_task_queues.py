"""Tools on a task queue of their own: ``@tool(task_queue=…)`` and a worker that has tools and no agents."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from pydantic import BaseModel

from handfast import Agent, HandfastPlugin, Tool, ToolContext, tool
from handfast.errors import DefinitionError
from handfast.testing import Reply, call, text
from support.labs import Effects, MakeLab
from support.task_queues import elsewhere

DONE = Reply(text("done"))


class Job(BaseModel):
    """The run's context."""

    owner: str


def render_on(queue: str, effects: Effects, **options: Any) -> Tool[..., Any]:
    """A tool for a machine with a graphics card."""

    @tool(task_queue=queue, **options)
    async def render(ctx: ToolContext[Job], scene: str) -> str:
        """Render a scene."""
        effects.append(f"{ctx.context.owner} {scene[:5]} {len(scene)} {asyncio.current_task() is not None}")
        return "rendered"

    return render


async def test_a_tool_runs_on_its_own_task_queue(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """The call waits for a worker of that queue; context and large arguments reach it there; approvals stay here."""
    queue = f"gpu-{uuid.uuid4().hex[:8]}"
    render = render_on(queue, effects, approval=True)
    calls = Reply(call("render", {"scene": "small"}, "c1"), call("render", {"scene": "large" * 10_000}, "c2"))
    agent = Agent("studio", model="m", tools=[render])
    lab = await make_lab([agent], script=[calls, DONE], max_cached_workflows=cache)
    run = await lab.start("studio", context={"owner": "ana"})
    for request in await lab.open_requests(run, 2):
        await run.approve(request, decided_by="lead")
    assert effects == []
    async with elsewhere(lab, queue, render):
        assert (await run.result()).output == "done"
    assert sorted(effects) == ["ana large 50000 True", "ana small 5 True"]
    assert lab.model.requests[1].tool_outputs == {"c1": "rendered", "c2": "rendered"}


async def test_a_worker_with_tools_alone_needs_no_model_client(
    make_lab: MakeLab, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made without OPENAI_API_KEY, and serves the tools that it was given."""
    queue = f"gpu-{uuid.uuid4().hex[:8]}"
    render = render_on(queue, effects)
    lab = await make_lab(
        [Agent("studio", model="m", tools=[render])], script=[Reply(call("render", {"scene": "a"})), DONE]
    )
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    async with elsewhere(lab, queue, render):
        run = await lab.start("studio", context={"owner": "ana"})
        await run.result()
    assert effects == ["ana a 1 True"]


def test_further_tools_are_checked_like_those_of_agents(effects: Effects) -> None:
    """Two different tools of one name, and what is no tool, are refused when the plugin is made."""
    render = render_on("a", effects)
    with pytest.raises(DefinitionError, match="two different tools"):
        HandfastPlugin(tools=[render, render_on("b", effects)])
    with pytest.raises(DefinitionError, match="mean different tools"):
        HandfastPlugin([Agent("studio", tools=[render])], tools=[render_on("b", effects)])
    with pytest.raises(DefinitionError, match=r"tools\[0\] must be a Tool \(made with @tool\), not a builtin"):
        HandfastPlugin(tools=[print])  # type: ignore[list-item]  # what a user may get wrong
    with pytest.raises(DefinitionError, match="task_queue"):
        render_on("", effects)
