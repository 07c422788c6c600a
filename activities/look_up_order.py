"""The tool `look_up_order`: it only reads, and only the orders of the customer that the run is about."""

from __future__ import annotations

from activities.books import Order
from activities.case import Case
from activities.workspace import Workspace
from handfast import ToolContext, tool


@tool(effect="read_only")
def look_up_order(ctx: ToolContext[Case], order: int) -> Order:
    """Look up what this customer ordered and paid.

    Args:
        order: Number of the order.
    """
    workspace: Workspace = ctx.resources
    return workspace.books.order(order, ctx.context.customer)
