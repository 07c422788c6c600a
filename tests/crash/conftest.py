"""What every crash test needs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from crash.judge import Judge


@pytest_asyncio.fixture(loop_scope="session")
async def judge() -> AsyncIterator[Judge]:
    """The judge of effects."""
    async with Judge() as judging:
        yield judging
