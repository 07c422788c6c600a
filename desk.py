"""The service desk's agents: names, instructions, tools. Approval rules stand beside the tools that they guard.

``handfast dev`` and ``python worker.py`` serve them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from pydantic import BaseModel, Field

from activities.caretaker import DEFAULT_MODEL
from activities.case import Case
from activities.look_up_order import look_up_order
from activities.read_ledger import read_ledger
from activities.refund import FREE_UP_TO, refund
from activities.run_cleanup import run_cleanup
from activities.run_diagnostic import run_diagnostic
from activities.workspace import Workspace
from handfast import Agent, HandfastPlugin, RunContext, handoff, question
from workflows.service_desk import Outcome

DEFAULT_WORKSPACE: Final = ".handfast/workspace"

REPORT: Final = (
    "A person may reject a call: then leave it, do not try it again in another way. When the whole ticket is done, "
    "report what was done, quoting readings and amounts as they are, and list what was left open and why."
)

IT_SUPPORT: Final = "Slow or full machines, cleanups, diagnostics."


class Audit(BaseModel):
    """A refund that is to be checked."""

    order: int = Field(description="Number of the order.")
    amount: float = Field(description="What is to be paid back, in euros.")


class Finding(BaseModel):
    """What an audit found."""

    sound: bool
    reason: str


def task_of_audit(ctx: RunContext[Case], audit: Audit) -> str:
    """Word an audit's task; the auditor reads nothing else of the ticket, so nothing in it can talk it round."""
    return f"Customer {ctx.context.customer} is to get back {audit.amount:.2f} euros for order {audit.order}."


auditor = Agent(
    "auditor",
    instructions=(
        "You audit refunds of a shop. Look the order up and read the ledger, both in one reply. A refund is sound if "
        "the order is this customer's, no more is paid back than was paid, and nothing was paid back before."
    ),
    description="Checks a refund against order and ledger. It changes nothing.",
    tools=[look_up_order, read_ledger],
    context_type=Case,
    output_type=Finding,
    max_turns=6,
)

billing = Agent(
    "billing",
    instructions=(
        "You are the billing of a service desk. Look an order up before you say anything about it. Before you refund "
        f"more than {FREE_UP_TO} euros, ask the auditor, and refund nothing that it does not find sound. Hand over "
        f"what IT support has to do. {REPORT}"
    ),
    description="Orders, invoices, refunds.",
    tools=[look_up_order, auditor.as_tool(parameters=Audit, input_builder=task_of_audit), refund],
    handoffs=[handoff("it_support", description=IT_SUPPORT)],
    context_type=Case,
    output_type=Outcome,
)

it_support = Agent(
    "it_support",
    instructions=(
        "You are the IT support of a service desk. Do what the ticket asks with your tools, and make all the calls "
        f"that do not depend on each other in one reply. Hand over what billing has to do. {REPORT}"
    ),
    description=IT_SUPPORT,
    tools=[run_diagnostic, run_cleanup],
    handoffs=[billing],
    context_type=Case,
    output_type=Outcome,
)

ask_requester = question(
    name="ask_requester",
    description="Ask the person who wrote the ticket. Use it when nobody could work on the ticket as it stands.",
    deadline=timedelta(days=2),
)

triage = Agent(
    "triage",
    instructions=(
        "You receive the tickets of a service desk. If a ticket is about an order and does not say which, ask. Then "
        f"hand over to whoever has the first thing to do. {REPORT}"
    ),
    tools=[ask_requester],
    handoffs=[it_support, billing],
    context_type=Case,
    output_type=Outcome,
    max_turns=30,  # of the whole ticket: the count goes on over handoffs
)

follow_up = Agent(
    "follow_up",
    instructions=(
        "You close tickets of a service desk. You get a ticket and the report on it, some time later. Check with the "
        "disk diagnostic whether the targets hold what the report says, then write a closing note of at most three "
        "sentences. If report and reading disagree, say so plainly."
    ),
    tools=[run_diagnostic],
    max_turns=6,
)

agents = [triage, it_support, billing, auditor, follow_up]

groups: Final = {"finance": ["lee", "kim"]}
"""Members of the groups that rules name; a function that asks your directory does as well."""


@asynccontextmanager
async def workspace() -> AsyncIterator[Workspace]:
    """The folder that the tools work in, made once per worker: ``DESK_WORKSPACE``, else one under ``.handfast``."""
    yield await asyncio.to_thread(_made)


def _made() -> Workspace:
    root = Path(os.environ.get("DESK_WORKSPACE") or DEFAULT_WORKSPACE).absolute()
    root.mkdir(parents=True, exist_ok=True)
    return Workspace(root)


plugin = HandfastPlugin(
    agents, resources=workspace, groups=groups, default_model=os.environ.get("HANDFAST_MODEL") or DEFAULT_MODEL
)
"""The model client is made from the environment when a worker starts: ``OPENAI_API_KEY``, ``OPENAI_BASE_URL``."""
