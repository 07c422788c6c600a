"""Runs that wait for a person for long."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.api.enums.v1 import EventType

from handfast import Agent, tool
from handfast.history.reader import history_of
from handfast.testing import Lab, Reply, call, text
from support.labs import Effects

DONE = Reply(text("done"))


WIPE = Reply(call("wipe", {"target": "t"}, "c1"))


def wiper(effects: Effects, approval: Any = True, name: str = "desk", **options: Any) -> Agent:
    """An agent with one gated tool."""

    @tool(approval=approval)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        return f"wiped {target}"

    return Agent(name, model="m", tools=[wipe], **options)


async def until_fired(lab: Lab, run: Any) -> None:
    """Wait until a timer of the run has fired: the server does that, worker or not."""
    async with asyncio.timeout(30):
        async for event in history_of(lab.client.get_workflow_handle(run.id), wait=True):
            if event.event_type == EventType.EVENT_TYPE_TIMER_FIRED:
                return
