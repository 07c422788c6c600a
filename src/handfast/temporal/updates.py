"""Updates to a run from many callers at once: the server takes ten at a time, and gives up some that it had taken."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

from temporalio.service import RPCError

from handfast.temporal.rpc import is_failed

UPDATES_AT_A_TIME: Final = 8
"""Updates of this process to one run at a time. The server refuses the eleventh of all processes; eight leave room for
a second process, and are as fast."""
TURN_WITHIN_S: Final = 4.0
"""Longest wait of a caller for its turn, before a signal stands in for the update. A worker has longer to answer: where
none does, those who wait do not begin anew when the first ones give up."""
PATIENCE_S: Final = 10.0
"""From the first try on: the SDK repeats a call for ten seconds by itself, which is enough."""
PAUSES_S: Final = (0.1, 0.3, 1.0, 3.0)

T = TypeVar("T")


class _Turns:
    """The callers who wait for one run."""

    def __init__(self) -> None:
        self.free = asyncio.Semaphore(UPDATES_AT_A_TIME)
        self.callers = 0


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Turns]] = WeakKeyDictionary()


@asynccontextmanager
async def turn(workflow_id: str) -> AsyncIterator[bool]:
    """Wait until an update may be sent to a run; False where none may be sent in time."""
    runs = _by_loop.setdefault(asyncio.get_running_loop(), {})
    turns = runs.setdefault(workflow_id, _Turns())
    turns.callers += 1
    try:
        try:
            await asyncio.wait_for(turns.free.acquire(), TURN_WITHIN_S)
        except TimeoutError:
            yield False
            return
        try:
            yield True
        finally:
            turns.free.release()
    finally:
        turns.callers -= 1
        if not turns.callers:
            runs.pop(workflow_id, None)


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Make a call again while the server answers that it did not do it: for calls that count once however often made.

    Raises:
        RPCError: The last one, where it never did.
    """
    until = time.monotonic() + PATIENCE_S
    for pause_s in PAUSES_S:
        try:
            return await call()
        except RPCError as error:
            if not is_failed(error) or time.monotonic() > until:
                raise
        await asyncio.sleep(random.uniform(pause_s / 2, pause_s))
    return await call()
