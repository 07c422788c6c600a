"""Keeps the workflow tasks of a history apart, so that a replay takes things in the order in which they came.

On a replay the SDK makes one activation of two tasks in a row that left no command (it takes them for the heartbeats of
a local activity, whatever they took in), and shows the updates of an activation before its results. A tool that ended
in the one task and a decision that came in the next would change places; the history no longer fits, and the run stops
for ever.
"""

from __future__ import annotations

import asyncio
from typing import Final

from temporalio import workflow

from handfast.payloads.requests import MEMO_LOG

PASSES: Final = 8
"""Times that everything which waits is looked at before a task counts as one without a command: a result wakes its loop
in one, and every loop above that in one more."""


class TaskMarks:
    """Sees to it that each task which took something in leaves a command behind, if need be an empty log."""

    def __init__(self) -> None:
        """Begin without."""
        self._made_in = 0
        self._looks_in = 0
        self._looking: asyncio.Task[None] | None = None

    def note_command(self) -> None:
        """Note that the task under way leaves a command that nothing takes back."""
        self._made_in = _task()

    def note_input(self) -> None:
        """Note that the task under way took something in: a result, a signal, the time, or the run itself.

        Not where a workflow is made: the SDK does that before its first job, and a refused update leaves no trace.
        """
        task = _task()
        if task not in (self._made_in, self._looks_in):
            self._looks_in = task
            self._looking = asyncio.create_task(self._mark(task))

    async def _mark(self, task: int) -> None:
        for _ in range(PASSES):
            await workflow.wait_condition(lambda: True)
            if self._made_in == task:
                return
        self.note_command()
        workflow.upsert_memo({MEMO_LOG: []})

    async def after_signals(self) -> None:
        """Wait until the signals of the task under way have been handled: for an update.

        The SDK shows a history's first task its updates before its signals, and on a replay after them, where that task
        has left a patch marker.
        """
        await workflow.wait_condition(lambda: True)


def _task() -> int:
    """Return the number that tells the tasks of a history apart."""
    return workflow.info().get_current_history_length()
