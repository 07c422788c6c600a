"""A workflow of a user's own that fails, and is begun again by its retry policy."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from handfast import AgentHost


@workflow.defn
class Printing:
    """Fails the first time, when it is told to: its agent waits for a person then."""

    @workflow.init
    def __init__(self) -> None:
        self.agents = AgentHost()
        self.on_fire = False

    @workflow.signal
    def burn(self) -> None:
        """Fail."""
        self.on_fire = True

    @workflow.run
    async def run(self) -> str:
        """Work."""
        working = asyncio.create_task(self.agents.run("desk", "go"))
        if workflow.info().attempt == 1:
            await workflow.wait_condition(lambda: self.on_fire)
            raise ApplicationError("the printer is on fire", type="Fire")
        return str((await working).output)
