"""An activity that is cancelled ends its work once, however often it hears of it."""

from __future__ import annotations

import asyncio

import pytest

from handfast.activities.runtime.beats import ended


async def test_what_is_done_on_the_way_out_is_not_cut_short() -> None:
    """A second cancel, as it comes from the SDK after the one from the beats, leaves alone what the first one began."""
    began, leaving, may_leave, said = asyncio.Event(), asyncio.Event(), asyncio.Event(), []

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            leaving.set()
            await may_leave.wait()
            said.append("cancelled at the provider")
            raise

    working = asyncio.create_task(work())
    activity = asyncio.create_task(ended(working))
    await began.wait()
    working.cancel()
    await leaving.wait()
    activity.cancel()
    await asyncio.sleep(0)
    activity.cancel()
    await asyncio.sleep(0)
    may_leave.set()
    with pytest.raises(asyncio.CancelledError):
        await activity
    assert said == ["cancelled at the provider"]


@pytest.mark.parametrize("fails", [False, True], ids=["value", "error"])
async def test_without_a_cancel_its_end_is_told(fails: bool) -> None:
    """A value is returned, an error raised."""

    async def work() -> str:
        if fails:
            raise ValueError("no")
        return "yes"

    working = asyncio.create_task(work())
    if fails:
        with pytest.raises(ValueError, match="no"):
            await ended(working)
    else:
        assert await ended(working) == "yes"
