"""A desk for outputs of every size."""

from __future__ import annotations

import hashlib

from handfast import Agent, tool
from support.labs import Effects


def desk(effects: Effects) -> Agent:
    """An agent with a tool that says much, and a gated one that is told much."""

    @tool
    async def read(megabytes: float, letter: str) -> str:
        """Read a large file."""
        effects.append(f"read {megabytes}")
        return letter * int(megabytes * 1_000_000)

    @tool(approval=True)
    async def store(body: str) -> str:
        """Store a text."""
        effects.append(hashlib.sha256(body.encode()).hexdigest())
        return "stored"

    return Agent("desk", instructions="Help.", model="m", tools=[read, store])
