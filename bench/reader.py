"""The agents whose long runs are measured."""

from __future__ import annotations

import random

from handfast import Agent, Truncate, tool


@tool(effect="read_only")
async def read_page(number: int) -> str:
    """Read one page of 2 KB: words that compress about as well as a text does."""
    words = random.Random(number)
    return " ".join(f"{words.choice('abcdefgh')}{words.randrange(10_000)}" for _ in range(330))[:2048]


@tool(approval=True)
async def sign(page: int) -> str:
    """Sign a page, which a person has to approve."""
    return f"page {page} is signed"


reader = Agent("reader", instructions="Read every page.", model="m", tools=[read_page, sign], max_turns=None)
skimmer = Agent(
    "skimmer",
    instructions="Read every page.",
    model="m",
    tools=[read_page, sign],
    max_turns=None,
    truncation=Truncate(keep_turns=20),
)
agents = [reader, skimmer]
