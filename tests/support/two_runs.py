"""A user's own workflow around two agent runs."""

from __future__ import annotations

from temporalio import workflow

from handfast import AgentHost


@workflow.defn
class TwoRuns:
    """Runs one agent twice."""

    @workflow.init
    def __init__(self, agent: str) -> None:
        """Make the host before the first message."""
        self.agents = AgentHost()

    @workflow.run
    async def run(self, agent: str) -> list[str]:
        """Run it once, and once more."""
        results = [await self.agents.run(agent, "first"), await self.agents.run(agent, "second")]
        return [str(result.output) for result in results]
