"""What one frame has under way: its tasks, and the activities that they wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from temporalio import workflow

from holdfast.payloads.json_profile import JsonObject
from holdfast.workflows.settle import Settled, settle_activity, start_activity


class Work:
    """Starts activities and child loops of one frame, and ends them together.

    Attributes:
        ending: The frame is being abandoned: nobody will be asked any more, and what is unknown is said to be.
    """

    def __init__(self) -> None:
        """Begin with nothing under way."""
        self.ending = False
        self._tasks: list[asyncio.Task[None]] = []
        self._handles: list[workflow.ActivityHandle[Any]] = []
        self._children: dict[str, asyncio.Task[None]] = {}

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a piece of work; `reap` hears of its end."""
        self._tasks.append(asyncio.create_task(work))

    @property
    def any_done(self) -> bool:
        """Whether a piece of work has ended since the last `reap`."""
        return any(task.done() for task in self._tasks)

    def reap(self) -> None:
        """Forget what has ended; an exception in it is a bug of ours and fails the workflow task."""
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.remove(task)
            task.result()

    async def activity(
        self, name: str, arg: JsonObject | None, summary: str, config: workflow.ActivityConfig
    ) -> Settled:
        """Run an activity to its end, whatever that is."""
        handle = start_activity(name, arg, summary, config)
        self._handles.append(handle)
        try:
            return await settle_activity(handle)
        finally:
            self._handles.remove(handle)

    async def child(self, call_id: str, loop: Coroutine[Any, Any, None]) -> None:
        """Run a call's nested loop as part of this work.

        Raises:
            asyncio.CancelledError: It was cancelled, alone or with all of this work.
        """
        task = asyncio.create_task(loop)
        self._children[call_id] = task
        try:
            await asyncio.shield(task)
        finally:
            del self._children[call_id]

    def cancel_child(self, call_id: str) -> bool:
        """Cancel a call's nested loop; whether there is one."""
        task = self._children.get(call_id)
        return task is not None and task.cancel()

    async def end(self) -> None:
        """Cancel everything and wait until it has ended."""
        for handle in self._handles:
            handle.cancel()
        for child in self._children.values():
            child.cancel()
        if not self._tasks:
            return
        # A task of its own: on cache eviction it cannot be created, which ends this here instead of waiting.
        ended = asyncio.create_task(_all(self._tasks))
        while not ended.done():
            try:
                await asyncio.shield(ended)
            except asyncio.CancelledError:
                continue  # a second cancel changes nothing: tools that are ending are waited for
        ended.result()


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        await task
