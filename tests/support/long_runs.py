"""Runs that go on in fresh histories after a few turns."""

from __future__ import annotations

import asyncio
from typing import Any

from handfast import Agent, tool
from handfast.client.run import Run
from handfast.history.chain import chain_of
from handfast.testing import Lab, Reply, Script, call, text
from handfast.testing.script import RecordedRequest
from support.labs import Effects

SHORT = 40
"""Events of a history, instead of 2,000."""


def desk(effects: Effects, **options: Any) -> Agent:
    """An agent with one gated and one free tool."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        return f"wiped {target}"

    @tool(effect="read_only")
    async def look(page: int) -> str:
        """Look at something."""
        effects.append(f"look {page}")
        return f"page {page}: ".ljust(200, "x")

    return Agent("desk", instructions="Help.", model="m", tools=[wipe, look], **options)


def looking(turns: int, last: Reply | None = None, tool: str = "look") -> Script:
    """A model that looks at one page a turn, then says *last*, then that it is done."""

    def choose(request: RecordedRequest) -> Reply:
        if request.turns < turns:
            return Reply(call(tool, {"page": request.turns}))
        return last if last is not None and request.turns == turns else Reply(text("done"))

    return Script.of(choose)


WIPES = Reply(call("wipe", {"target": "temp"}, "w1"), call("wipe", {"target": "logs"}, "w2"))


async def crossing(lab: Lab, run: Run, signal: str = "approve") -> None:
    """Let a run that waits go on in a fresh history: refused signals make the one that it has grow."""
    described = await lab.client.get_workflow_handle(run.id).describe()
    before = described.run_id
    handle = lab.client.get_workflow_handle(run.id)
    async with asyncio.timeout(30):
        async for run_id, event in chain_of(lab.client, run.id, before, wait=True):
            if run_id != before:
                return
            if event.HasField("workflow_task_completed_event_attributes"):
                await handle.signal(signal, "no-such-request")
    raise AssertionError(f"{run.id} ended before it went on in a fresh history")
