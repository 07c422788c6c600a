"""A desk with gated and free tools, and the outputs that its model read."""

from __future__ import annotations

from typing import Any

from handfast import Agent, tool
from handfast.testing import Lab, Reply, call, text
from support.labs import Effects


def desk(effects: Effects) -> Agent:
    """An agent with one gated and one free tool."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        return f"wiped {target}"

    @tool(effect="read_only")
    async def look(check: str) -> str:
        """Look at something."""
        effects.append(f"look {check}")
        return f"{check} is fine"

    return Agent("desk", instructions="Help.", model="m", tools=[wipe, look])


MIXED = Reply(
    call("wipe", {"target": "temp"}, "c1"),
    call("look", {"check": "fans"}, "c2"),
    call("wipe", {"target": "logs"}, "c3"),
)


DONE = Reply(text("done"))


def outputs(lab: Lab, request: int = 2) -> list[tuple[str, Any]]:
    """The call outputs that a model request carried, in its order."""
    return [
        (item["call_id"], item["output"])
        for item in lab.model.requests[request - 1].body["input"]
        if item["type"] == "function_call_output"
    ]
