"""Reading the events of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from handfast import Run
from handfast.payloads.events import (
    RunEvent,
)

WAIT_S = 30.0


async def to_the_end(run: Run, after: str | None = None) -> list[RunEvent]:
    """All events of a run that ends."""
    async with asyncio.timeout(WAIT_S):
        return [event async for event in run.events(after)]


async def so_far(run: Run, after: str | None = None) -> list[RunEvent]:
    """The events that there are."""
    async with asyncio.timeout(WAIT_S):
        return [event async for event in run.events(after, wait=False)]


def types(events: Sequence[RunEvent]) -> list[str]:
    """What happened, in order."""
    return [event.type for event in events]
