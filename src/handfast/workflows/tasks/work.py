"""Work of one frame under way: its tasks, and the activities that they wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from temporalio import workflow

from handfast.payloads.evaluation import EVALUATE, Question
from handfast.payloads.json_profile import JsonObject
from handfast.workflows.tasks.await_activity import Cancelled, Done, Ending, Failed, await_activity, start_activity
from handfast.workflows.tasks.marks import TaskMarks

AnswerT = TypeVar("AnswerT")


class Work:
    """Starts activities and child loops of one frame, and ends them together.

    Attributes:
        ending: The frame is being abandoned: nobody will be asked any more, and what is unknown is said to be.
    """

    def __init__(self, marks: TaskMarks) -> None:
        """Begin with nothing under way; *marks* are the workflow's."""
        self.ending = False
        self._marks = marks
        self._tasks: list[asyncio.Task[None]] = []
        self._handles: list[tuple[workflow.ActivityHandle[Any], str | None]] = []
        self._children: dict[str, asyncio.Task[None]] = {}
        self._model: workflow.ActivityHandle[Any] | None = None

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a piece of work; `reap` hears of its end."""
        self._tasks.append(asyncio.create_task(work))

    @property
    def any_done(self) -> bool:
        """True if a piece of work has ended since the last `reap`."""
        return any(task.done() for task in self._tasks)

    def reap(self) -> None:
        """Forget what has ended; an exception in it is a bug of ours and fails the workflow task."""
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.remove(task)
            task.result()

    @property
    def quiet(self) -> bool:
        """True while nothing is under way but nested loops, which are looked at by themselves."""
        return not self.any_done and len(self._tasks) == len(self._children)

    async def activity(
        self,
        name: str,
        arg: JsonObject | None,
        summary: str,
        config: workflow.ActivityConfig,
        *,
        call: str | None = None,
        model: bool = False,
        by_any_worker: bool = False,
    ) -> Ending:
        """Run an activity to its end, whatever that is.

        Args:
            name: Its type.
            arg: Its argument.
            summary: What Temporal's web page shows of it.
            config: Its budget.
            call: The id of the call that ends with it, if one does.
            model: It is the frame's model call, which `interrupt` cancels.
            by_any_worker: As `start_activity`.
        """
        handle = start_activity(name, arg, summary, config, self._marks, by_any_worker=by_any_worker)
        entry = (handle, call)
        self._handles.append(entry)
        if model:
            self._model = handle
        try:
            return await await_activity(handle, self._marks)
        finally:
            self._handles.remove(entry)
            if model:
                self._model = None

    async def evaluate(
        self,
        asked: Question[AnswerT],
        summary: str,
        config: workflow.ActivityConfig,
        *,
        call: str | None = None,
        by_any_worker: bool = False,
    ) -> Done[AnswerT] | Failed | Cancelled:
        """Ask the user's code something, and read its answer; the rest as `activity`."""
        arg = asked.to_wire()
        settled = await self.activity(EVALUATE, arg, summary, config, call=call, by_any_worker=by_any_worker)
        return Done(asked.read(settled.value)) if isinstance(settled, Done) else settled

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

    def cancel_call(self, call_id: str) -> None:
        """Cancel what one call has under way: its activity, or its nested loop."""
        for handle, call in self._handles:
            if call == call_id:
                handle.cancel()
        if call_id in self._children:
            self._children[call_id].cancel()

    def interrupt(self) -> None:
        """Cancel the model call under way, if there is one."""
        if self._model is not None:
            self._model.cancel()

    async def end(self) -> None:
        """Cancel everything and wait until it has ended."""
        for handle, _ in self._handles:
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
        self._tasks.clear()


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        await task
