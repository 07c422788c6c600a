"""The agent of twelve lines that runs on every model, with one free and one gated tool."""

from __future__ import annotations

from handfast import Agent, tool


@tool(effect="read_only")
async def look(at: str) -> str:
    """Look at a part of the machine."""
    return f"{at} are on"


@tool(approval=True)
async def clean(target: str) -> str:
    """Delete a folder."""
    return f"{target} is gone"


desk = Agent("desk", instructions="Help with the machine.", model="m", tools=[look, clean])
