"""An agent that is used as a tool."""

from __future__ import annotations

from handfast import Agent, tool
from handfast.testing import Reply, call
from support.labs import Effects


def wiper(effects: Effects, name: str = "auditor") -> Agent:
    """An agent with one gated tool."""

    @tool(approval=True, name=f"wipe_{name}")
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"{name} wipes {target}")
        return f"wiped {target}"

    return Agent(name, instructions=f"You are {name}.", description=f"Does what {name} does.", model="m", tools=[wipe])


def asked(target: str = "t", call_id: str = "i1", agent: str = "auditor") -> Reply:
    """The nested agent calls its gated tool."""
    return Reply(call(f"wipe_{agent}", {"target": target}, call_id))
