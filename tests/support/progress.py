"""Reading the progress of a tool."""

from __future__ import annotations

import asyncio

from handfast import Run, ToolProgress


async def told(run: Run, words: str) -> ToolProgress:
    """Ask until a tool's progress says *words*: it travels with heartbeats, which no event announces."""
    async with asyncio.timeout(20):
        while True:
            for each in await run.progress():
                if each.text.startswith(words):
                    return each
