"""Keeps an activity that is no tool alive while it works, and ends it when it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from temporalio.exceptions import ApplicationError

from holdfast.activities.beats import Beats

T = TypeVar("T")


async def kept_alive(beats: Beats, work: Coroutine[Any, Any, T], cancelled: ApplicationError) -> T:
    """Beat while *work* goes on; a cancel ends it, whatever it is at.

    Raises:
        ApplicationError: *cancelled*, where the server wants the activity to end.
    """
    working = asyncio.create_task(work)
    stopped: list[str] = []

    def stop(why: str) -> None:
        stopped.append(why)
        working.cancel()

    try:
        async with beats.kept([], stop, first=False):
            return await working
    except asyncio.CancelledError:
        working.cancel()
        if not stopped:
            raise
        raise cancelled from None
