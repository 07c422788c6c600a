"""Row P15: while a deploy rolls, workers of both versions poll one task queue: work goes to the one that knows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from temporalio.client import Client

from handfast import Agent, HandfastPlugin, Run, Tool, tool
from handfast.history.reader import history_of
from handfast.testing import Lab, Reply, call, text
from handfast.worker import make_worker
from support.labs import Effects, MakeLab

DONE = Reply(text("done"))
WITHIN_S = 30.0
"""A person is asked after two minutes: whoever has the tool must have got the call long before."""


def wiping(effects: Effects) -> Tool[[str], Any]:
    """A gated tool, which one version of the workers has."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    return wipe


@asynccontextmanager
async def older(lab: Lab, agents: Sequence[Agent]) -> AsyncIterator[None]:
    """A worker of the older version, beside whichever the lab has."""
    plugin = HandfastPlugin(agents, models=lab.plugin()._options.models, default_model="scripted")
    client = await Client.connect(lab.client.service_client.config.target_host)
    async with make_worker(client, plugin, task_queue=lab.task_queue):
        yield


async def refused(lab: Lab, run: Run, times: int) -> None:
    """Wait until a worker has said as often that it does not know an activity."""
    async with asyncio.timeout(WITHIN_S):
        async for event in history_of(lab.client.get_workflow_handle(run.id), wait=True):
            times -= event.HasField("activity_task_failed_event_attributes")
            if times == 0:
                return


async def decided_by_the_older(lab: Lab, others: Sequence[Agent]) -> str:
    """Let a worker of the older version take a run into its cache and meet what it lacks; then let the newer come."""
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.stop_worker()
    async with older(lab, others):
        await run.approve(request, decided_by="lead")
        await refused(lab, run, 1)
        await lab.start_worker()
        async with asyncio.timeout(WITHIN_S):
            output = (await run.result()).output
    assert isinstance(output, str)
    return output


async def test_a_call_goes_to_the_worker_that_has_its_tool(make_lab: MakeLab, effects: Effects) -> None:
    """P15: the worker that has the run in its cache lacks the tool: the call runs on the one that has it, within
    seconds, and nobody is asked about it."""
    desk = Agent("desk", model="m", tools=[wiping(effects)])
    lab = await make_lab([desk], script=[Reply(call("wipe", {"target": "tmp"})), DONE])
    assert await decided_by_the_older(lab, [Agent("desk", model="m")]) == "done"
    assert effects == ["tmp"]


async def test_a_model_call_goes_to_the_worker_that_has_its_agent(make_lab: MakeLab, effects: Effects) -> None:
    """P15: likewise where it has the tool and lacks the agent whose turn is next."""
    wipe = wiping(effects)
    lab = await make_lab(
        [Agent("desk", model="m", tools=[wipe])], script=[Reply(call("wipe", {"target": "tmp"})), DONE]
    )
    assert await decided_by_the_older(lab, [Agent("other", model="m", tools=[wipe])]) == "done"
    assert effects == ["tmp"]
