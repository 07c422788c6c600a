"""A run with a gated call."""

from __future__ import annotations

from handfast import Agent, tool
from support.labs import Effects


def gated(effects: Effects) -> Agent:
    """An agent whose one tool is gated."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    return Agent("desk", model="m", tools=[wipe])
