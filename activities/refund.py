"""The tool `refund`: it pays money back, above 100 euros with the yes of a second person, and once for an order."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from activities.books import Refund
from activities.case import Case
from activities.pause import pause
from activities.workspace import Workspace
from handfast import Approval, RunContext, ToolArguments, ToolContext, tool

FREE_UP_TO: Final = 100
"""Euros that are paid back without asking anybody."""


def over_100(_: RunContext[Case], arguments: ToolArguments) -> Approval | None:
    """Four eyes: finance decides, and never the person who asked for the refund or changed its amount."""
    if arguments.amount <= FREE_UP_TO:
        return None
    return Approval(
        approvers=["group:finance"],
        exclude_requester=True,
        on_edit="ask_again",
        deadline=timedelta(days=2),
        reason=f"It pays back more than {FREE_UP_TO} euros.",
    )


def once_per_order(_: RunContext[Case], arguments: ToolArguments) -> str:
    """Make the ledger's key: the same for every refund of an order, whichever call, run or attempt it comes from."""
    return f"refund-{arguments.order}"


@tool(effect="idempotent", approval=over_100, idempotency_key=once_per_order)
def refund(ctx: ToolContext[Case], order: int, amount: Annotated[float, Field(gt=0)]) -> Refund:
    """Pay money back to the customer of an order. An order is refunded once.

    Args:
        order: Number of the order.
        amount: How much, in euros.
    """
    workspace: Workspace = ctx.resources
    found = workspace.books.order(order, ctx.context.customer)
    pause("before")
    paid = workspace.books.pay_back(found, amount, key=ctx.idempotency_key, run=ctx.run_id, call=ctx.call_id)
    pause("after")
    return paid
