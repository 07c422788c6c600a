"""Agents whose requests are compared byte by byte: a nested agent, a handoff, a changing context, gates."""

from __future__ import annotations

import os
from typing import Any

from pydantic import BaseModel

from handfast import Agent, RunContext, ToolContext, tool

UNGATED = "HANDFAST_TEST_UNGATED"


class Desk(BaseModel):
    """The run's context."""

    done: list[str] = []


def gate(_context: RunContext[Any], _arguments: object) -> bool:
    """Ask a person, unless the whole run is to go through without a pause."""
    return not os.environ.get(UNGATED)


@tool(approval=gate)
async def wipe(ctx: ToolContext[Desk], target: str) -> dict[str, Any]:
    """Delete a target."""
    ctx.context.done.append(f"wiped {target}")
    return {"wiped": target, "files": 3}


@tool(effect="read_only")
async def look(check: str) -> str:
    """Look at something."""
    return f"{check} is fine"


@tool(approval=gate)
async def seal(ctx: ToolContext[Desk], report: str) -> str:
    """Seal a report."""
    ctx.context.done.append(f"sealed {report}")
    return f"sealed {report}"


def instructions(context: RunContext[Desk]) -> str:
    """Instructions that tell what has been done."""
    return f"You are {context.agent}. Done so far: {', '.join(context.context.done) or 'nothing'}."


auditor = Agent("auditor", instructions=instructions, model="m", tools=[seal, look], context_type=Desk)
closer = Agent("closer", instructions=instructions, model="m", tools=[wipe], context_type=Desk)
front = Agent(
    "front",
    instructions=instructions,
    model="m",
    tools=[wipe, look, auditor.as_tool()],
    handoffs=[closer],
    context_type=Desk,
)
