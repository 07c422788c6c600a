"""More work than a machine and a run have time for: busy processes, and floods of signals."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from handfast import Run
from handfast.testing import Lab

SENDERS: Final = 50


@asynccontextmanager
async def busy_loops(count: int) -> AsyncIterator[None]:
    """Processes that take the machine's time."""
    loops = [await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: pass") for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            await loop.wait()


async def flood(lab: Lab, run: Run, names: Sequence[str], count: int, argument: Any = "x") -> None:
    """Send a run *count* signals, by turns of each name, as fast as the server takes them."""
    handle = lab.client.get_workflow_handle(run.id)
    numbers = iter(range(count))

    async def send() -> None:
        for number in numbers:
            await handle.signal(names[number % len(names)], argument)

    await asyncio.gather(*(send() for _ in range(SENDERS)))
