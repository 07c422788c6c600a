"""What a run fails with when several things fail."""

from __future__ import annotations

import asyncio

import pytest

from handfast import Agent, tool
from handfast.errors import RunFailedError
from handfast.testing import Reply, call
from support.labs import MakeLab


async def test_the_first_failure_is_the_runs(make_lab: MakeLab, cache: int) -> None:
    """A call that ends a run by its error is named by the run's failure, also where a sibling that is stopped for it
    fails in turn."""
    working = asyncio.Event()

    @tool(on_error="fail")
    async def first() -> str:
        """Fail as soon as the other one works."""
        await working.wait()
        raise ValueError("the cause")

    @tool(on_error="fail")
    async def second() -> str:
        """Fail when told to stop."""
        working.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("a consequence") from None
        return "never"

    agent = Agent("desk", model="m", tools=[first, second])
    script = [Reply(call("first", {}, "c1"), call("second", {}, "c2"))]
    lab = await make_lab([agent], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    with pytest.raises(RunFailedError, match="first: Error: ValueError: the cause"):
        await run.result()
