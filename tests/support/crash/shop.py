"""Agents of the crash matrix: each tool tells the ledger that it began, and then has its effect there."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from handfast import Agent, Approval, Opinion, ReviewInput, RunContext, ToolContext, tool
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


async def judge(ctx: RunContext, review: ReviewInput) -> Opinion:
    """Tell the ledger that it was asked, and do what the run is named after."""
    run = str(review.arguments["run"])
    await ledger.begin(run, "judge", review.request.id)
    match run.split("-", maxsplit=1)[0].removeprefix("reviewed_"):
        case "approves":
            return Opinion("approve", "small")
        case "rejects":
            return Opinion("reject", "no")
        case "leaves":
            return Opinion("approve", "small", confidence=0.1)
        case "raises":
            raise LookupError("no such policy")
    await asyncio.Event().wait()
    raise AssertionError


def reviewed(ctx: RunContext, arguments: Any) -> Approval:
    """Have an order reviewed; in a run that is named after it, hardly for longer than it takes."""
    seconds = 2 if arguments.run.startswith("reviewed_hangs") else 60
    return Approval(review=judge, review_timeout=timedelta(seconds=seconds))


@tool(approval=reviewed)
async def settle(ctx: ToolContext, run: str) -> str:
    """Settle an order: reviewed, at most once."""
    await ledger.begin(run, "settle", ctx.idempotency_key)
    await ledger.effect(run, "settle")
    return "settled"


auditor = Agent("auditor", instructions="Audit.", tools=[sync])
shop = Agent("shop", instructions="Handle orders.", tools=[charge, sync, seal, look, settle, auditor.as_tool()])
AGENTS = [shop, auditor]
