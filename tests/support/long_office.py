"""A user's own workflow that takes its agents along into fresh histories."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from handfast import AgentHost


@workflow.defn
class Office:
    """Two runs of agents at the same time, over as many histories as it takes."""

    @workflow.init
    def __init__(self, with_memo: bool, carried: dict[str, Any] | None = None) -> None:
        self.agents = AgentHost(carried, segment_events=40)

    @workflow.run
    async def run(self, with_memo: bool, carried: dict[str, Any] | None = None) -> list[str]:
        """Work, and leave a history that has become long."""
        working = asyncio.create_task(self.work())
        taken = await self.agents.carry(until=working)
        if taken is not None:
            workflow.continue_as_new(args=[with_memo, taken], memo=self.agents.memo() if with_memo else None)
        return working.result()

    async def work(self) -> list[str]:
        """Two runs; the short one may end in the first history."""
        runs = [self.agents.run("desk", what, key=what) for what in ("short", "long")]
        return [str(result.output) for result in await asyncio.gather(*runs)]


@workflow.defn
class Errand:
    """One run without a key: it has to end before the workflow may leave its history."""

    @workflow.init
    def __init__(self, carried: dict[str, Any] | None = None) -> None:
        self.agents = AgentHost(carried, segment_events=40)

    @workflow.run
    async def run(self, carried: dict[str, Any] | None = None) -> str:
        """Work, and leave a history that has become long when the run has ended."""
        working = asyncio.create_task(self.work())
        taken = await self.agents.carry(until=working)
        if taken is not None:
            workflow.continue_as_new(args=[taken], memo=self.agents.memo())
        return working.result()

    async def work(self) -> str:
        """One run."""
        return str((await self.agents.run("desk", "go")).output)


@workflow.defn
class Stayer:
    """Waits for a moment to leave its history, and then stays in it."""

    @workflow.init
    def __init__(self) -> None:
        self.agents = AgentHost(segment_events=40)

    @workflow.run
    async def run(self) -> str:
        """Run an agent after the wait is over."""
        taken = await self.agents.carry(until=asyncio.create_task(asyncio.sleep(0)))
        assert taken is None
        return str((await self.agents.run("desk", "go")).output)


@workflow.defn
class Clumsy:
    """Fails after its agent has ended in a fresh history, and is begun again by its retry policy."""

    @workflow.init
    def __init__(self, carried: dict[str, Any] | None = None, again: bool = False) -> None:
        self.agents = AgentHost(carried, segment_events=40)

    @workflow.run
    async def run(self, carried: dict[str, Any] | None = None, again: bool = False) -> str:
        """Work, leave a history that has become long, and fail the first time."""
        again = again or workflow.info().attempt > 1
        working = asyncio.create_task(self.agents.run("desk", "go", key="it"))
        taken = await self.agents.carry(until=working)
        if taken is not None:
            workflow.continue_as_new(args=[taken, again], memo=self.agents.memo())
        if not again:
            raise ApplicationError("the printer is on fire")
        return str(working.result().output)
