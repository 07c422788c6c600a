"""Deadlines for the waits of a lab: what hangs is named, and the test goes on to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from handfast.errors import HandfastError

T = TypeVar("T")


class LabTimeoutError(HandfastError, TimeoutError):
    """A wait of a lab took longer than its deadline.

    Attributes:
        what: What was waited for.
        seconds: The deadline.
        waiting: What the asyncio tasks of this process wait for, one line each.
    """

    def __init__(self, what: str, seconds: float, waiting: list[str]) -> None:
        lines = "".join(f"\n  {line}" for line in waiting)
        super().__init__(f"{what} took longer than {seconds:g} s; the tasks of this process wait at:{lines}")
        self.what = what
        self.seconds = seconds
        self.waiting = waiting


async def within(seconds: float, what: str, awaitable: Awaitable[T]) -> T:
    """Await *awaitable* for *seconds* at most.

    ``asyncio.timeout`` would wait for the cancelled code to end, and what hangs may never do so: a shutdown in the
    SDK's core is such code. It is cancelled here too, and left alone.

    Args:
        seconds: The deadline.
        what: What is waited for, as the error names it.

    Raises:
        LabTimeoutError: It took longer.
    """
    task = asyncio.ensure_future(awaitable)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if done:
        return task.result()
    waiting = sorted(_place(each) for each in asyncio.all_tasks() if each is not asyncio.current_task())
    task.cancel()
    raise LabTimeoutError(what, seconds, waiting)


def _place(task: asyncio.Task[object]) -> str:
    frames = task.get_stack(limit=1)
    if not frames:
        return f"{task.get_name()}: nowhere"
    frame = frames[-1]
    return f"{task.get_name()}: {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}"
