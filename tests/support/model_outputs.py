"""A desk whose model misbehaves."""

from __future__ import annotations

from handfast import Agent, tool
from handfast.testing import Reply, text
from support.labs import Effects

DONE = Reply(text("done"))


def desk(effects: Effects) -> Agent:
    """An agent with a free and a gated tool."""

    @tool(effect="idempotent")
    async def note(line: str, times: int = 1) -> str:
        """Write a line."""
        effects.append(line)
        return f"noted {line}"

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        return "wiped"

    return Agent("desk", instructions="Help.", model="m", tools=[note, wipe])
