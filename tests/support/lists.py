"""Waiting for lists that visibility makes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from handfast.testing import Reply, call

WIPE = Reply(call("wipe", {"target": "t"}, "c1"))


async def eventually(look: Callable[[], Awaitable[Any]], seconds: float = 20) -> Any:
    """Visibility follows a moment later: look until something is there, or the deadline passes."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):  # noqa: ASYNC110 - visibility has no event to wait for
            await asyncio.sleep(0)
    return found
