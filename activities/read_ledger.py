"""The tool `read_ledger`: what was paid back already. It changes nothing."""

from __future__ import annotations

from activities.books import Refund
from activities.case import Case
from activities.workspace import Workspace
from handfast import ToolContext, tool


@tool(effect="read_only")
def read_ledger(ctx: ToolContext[Case], order: int) -> list[Refund]:
    """Read the refunds that the ledger has for one order of this customer.

    Args:
        order: Number of the order.
    """
    workspace: Workspace = ctx.resources
    found = workspace.books.order(order, ctx.context.customer)
    return [refund for refund in workspace.books.refunds() if refund.order == found.order]
