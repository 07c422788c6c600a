"""An agent for worker processes that are killed at any moment."""

from __future__ import annotations

from handfast import Agent, tool


@tool(approval=True)
async def wipe(target: str) -> str:
    """Delete a target."""
    return f"wiped {target}"


@tool(effect="read_only")
async def look(check: str) -> str:
    """Look at something."""
    return f"{check} is fine"


clerk = Agent("clerk", instructions="Help.", model="m", tools=[wipe, look])
