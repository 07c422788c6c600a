"""Agents of the crash matrix: each tool tells the ledger that it began, and then has its effect there."""

from __future__ import annotations

from handfast import Agent, ToolContext, tool
from support.crash import ledger


@tool(approval=True)
async def charge(ctx: ToolContext, run: str) -> str:
    """Charge an order: gated, at most once."""
    await ledger.begin(run, "charge", ctx.idempotency_key)
    await ledger.effect(run, "charge")
    return "charged"


@tool(effect="idempotent", approval=True)
async def sync(ctx: ToolContext, run: str) -> str:
    """Synchronise an order: gated, may be repeated with the same key."""
    await ledger.begin(run, "sync", ctx.idempotency_key)
    await ledger.effect(run, "sync", ctx.idempotency_key)
    return "synced"


@tool(effect="idempotent", approval=True)
async def seal(ctx: ToolContext, run: str) -> str:
    """Seal an order: the same beside it."""
    await ledger.begin(run, "seal", ctx.idempotency_key)
    await ledger.effect(run, "seal", ctx.idempotency_key)
    return "sealed"


@tool(effect="idempotent")
async def look(ctx: ToolContext, run: str) -> str:
    """Look at an order: free."""
    await ledger.begin(run, "look", ctx.idempotency_key)
    await ledger.effect(run, "look", ctx.idempotency_key)
    return "looked"


auditor = Agent("auditor", instructions="Audit.", tools=[sync])
shop = Agent("shop", instructions="Handle orders.", tools=[charge, sync, seal, look, auditor.as_tool()])
AGENTS = [shop, auditor]
