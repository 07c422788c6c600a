"""Agents for worker processes that get killed: every tool reports to the judge before and at its effect."""

from __future__ import annotations

from handfast import Agent, ToolContext, tool
from support.crash.judge import report


@tool(approval=True)
async def charge(order: str) -> str:
    """Charge an order: gated, at most once."""
    await report(f"begin charge {order}")
    await report(f"effect charge {order}")
    return f"charged {order}"


@tool
async def ship(order: str) -> str:
    """Ship an order: free, at most once."""
    await report(f"begin ship {order}")
    await report(f"effect ship {order}")
    return f"shipped {order}"


@tool(effect="idempotent")
async def sync(ctx: ToolContext, order: str) -> str:
    """Synchronise an order: may be repeated with the same key."""
    await report(f"key sync {order} {ctx.idempotency_key}")
    await report(f"begin sync {order}")
    await report(f"effect sync {order}")
    return f"synced in attempt {ctx.attempt}"


@tool(effect="read_only")
async def look(order: str) -> str:
    """Look at an order."""
    await report(f"look {order}")
    return "paid"


till = Agent("till", instructions="Handle orders.", tools=[charge, ship, sync, look])
