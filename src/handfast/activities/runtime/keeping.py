"""Sends heartbeats for an activity that is no tool, and ends it when it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from handfast.activities.runtime.beats import Beating, Beats

T = TypeVar("T")


class Saying:
    """The heartbeats of an activity, and why they ended it.

    Attributes:
        stopped: "cancel", or "gone": the server waits for this attempt no longer. None: it was not told to end.
    """

    def __init__(self) -> None:
        """Begin before the heartbeats do."""
        self.stopped: str | None = None
        self._begun: asyncio.Future[Beating] = asyncio.get_running_loop().create_future()

    @property
    def is_withdrawn(self) -> bool:
        """True once a cancel was asked for, whichever way the activity heard of it."""
        details = activity.cancellation_details()
        return self.stopped == "cancel" or (details is not None and details.cancel_requested)

    def begin(self, beating: Beating) -> None:
        """Take the heartbeats, which have begun."""
        self._begun.set_result(beating)

    async def say(self, details: Sequence[Any]) -> None:
        """Send *details* with every heartbeat from now on; return when the server has them."""
        await (await self._begun).say(details)


async def kept_alive(
    beats: Beats, work: Coroutine[Any, Any, T], cancelled: ApplicationError, saying: Saying | None = None
) -> T:
    """Send heartbeats while *work* goes on; a cancel ends it, whatever it is at.

    What the attempt before this one has said is said on, until *work* says something else.

    Raises:
        ApplicationError: *cancelled*, where the server wants the activity to end.
    """
    working = asyncio.create_task(work)
    says = saying or Saying()

    def stop(why: str) -> None:
        says.stopped = why
        if not working.cancelling():  # the SDK may have been faster, and what ends must not be cut short
            working.cancel()

    try:
        async with beats.kept(activity.info().heartbeat_details, stop, first=False) as beating:
            says.begin(beating)
            return await ended(working)
    except asyncio.CancelledError:
        if not working.cancelling():
            working.cancel()
        if says.stopped is None:
            raise
        raise cancelled from None


async def ended(working: asyncio.Task[T]) -> T:
    """Await *working*. A cancel of the caller cancels it once, so that its cleanup is not cut short.

    A cancel is heard of twice, by the beats and by the SDK. A task that is awaited as it is gets both.
    """
    while not working.done():
        try:
            await asyncio.wait([working])
        except asyncio.CancelledError:
            if not working.cancelling():
                working.cancel()
    return working.result()
