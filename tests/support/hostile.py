"""A desk for hostile messages."""

from __future__ import annotations

from handfast import Agent, tool
from support.labs import Effects


def desk(effects: Effects) -> Agent:
    """An agent with one gated tool."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    return Agent("desk", instructions="Help.", model="m", tools=[wipe])
