"""Agents whose conversations are kept by the provider, or whose responses are made in the background."""

from __future__ import annotations

from handfast import Agent, tool


@tool(effect="read_only")
async def look(check: str) -> str:
    """Look at something."""
    return f"{check} is fine"


keeper = Agent("keeper", instructions="Help.", model="m", tools=[look])
thinker = Agent("thinker", instructions="Think.", model="m", background=True)
AGENTS = [keeper, thinker]
