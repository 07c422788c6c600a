"""More work than a machine and a run have time for: busy processes, floods of signals, workers that give up."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    PollWorkflowTaskQueueRequest,
    PollWorkflowTaskQueueResponse,
    RespondWorkflowTaskFailedRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from handfast import Run
from handfast.testing import Lab

SENDERS: Final = 50
POLL: Final = timedelta(seconds=5)
GIVEN_UP: Final = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND


@asynccontextmanager
async def busy_loops(count: int) -> AsyncIterator[None]:
    """Processes that take the machine's time."""
    loops = [await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: pass") for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            await loop.wait()


async def flood(client: Client, run: Run, names: Sequence[str], count: int, argument: Any = "x") -> None:
    """Send a run *count* signals, by turns of each name, as fast as the server takes them."""
    handle = client.get_workflow_handle(run.id)
    numbers = iter(range(count))

    async def send() -> None:
        for number in numbers:
            await handle.signal(names[number % len(names)], argument)

    await asyncio.gather(*(send() for _ in range(SENDERS)))


async def taken_task(lab: Lab) -> PollWorkflowTaskQueueResponse | None:
    """The next workflow task of a lab without a worker, if one comes within `POLL`.

    A poll that is broken off may take a task with it: each ends by itself.
    """
    poll = PollWorkflowTaskQueueRequest(namespace=lab.client.namespace, task_queue=TaskQueue(name=lab.task_queue))
    try:
        task = await lab.client.workflow_service.poll_workflow_task_queue(poll, timeout=POLL)
    except RPCError as error:
        if error.status not in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
            raise
        return None
    return task if task.task_token else None


@asynccontextmanager
async def tasks_given_up(lab: Lab, enough: int = sys.maxsize) -> AsyncIterator[asyncio.Event]:
    """A worker that gives up every workflow task that it gets, as one does whose machine is too slow for it.

    Args:
        lab: It has no worker of its own meanwhile.
        enough: The worker leaves after so many tasks, and the event that one gets is set.
    """
    leaving, had_enough = asyncio.Event(), asyncio.Event()

    async def give_up() -> None:
        left = enough
        while left and not leaving.is_set():
            task = await taken_task(lab)
            if task is not None:
                left -= 1
                failed = RespondWorkflowTaskFailedRequest(
                    namespace=lab.client.namespace, task_token=task.task_token, cause=GIVEN_UP
                )
                await lab.client.workflow_service.respond_workflow_task_failed(failed)
        had_enough.set()

    giving_up = asyncio.create_task(give_up())
    try:
        yield had_enough
    finally:
        leaving.set()
        await giving_up
