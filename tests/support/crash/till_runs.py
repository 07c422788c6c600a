"""Runs of the till in worker processes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from handfast import Run
from handfast.client.session import Session
from handfast.history.reader import history_of
from handfast.testing import Lab, Reply, text
from handfast.testing.lab import WAIT_S
from support.crash.judge import Judge
from support.labs import MakeLab

DONE = Reply(text("done"))


TESTS = Path(__file__).parents[2]


async def till(make_lab: MakeLab, judge: Judge, *steps: Any, **options: Any) -> Lab:
    """A lab whose worker is a process of its own."""
    environment = {**judge.environment, **options.pop("environment", {})}
    options.setdefault("script", steps)
    return await make_lab("support.crash.till:till", environment=environment, directory=TESTS, **options)


async def replies_and_outputs(lab: Lab, run: Run | Session, count: int) -> None:
    """Wait until *count* activities of the run have completed: replies of the model, outputs of tools."""
    seen = 0
    async with asyncio.timeout(WAIT_S):
        async for event in history_of(lab.client.get_workflow_handle(run.id), wait=True):
            seen += event.HasField("activity_task_completed_event_attributes")
            if seen == count:
                return
    raise AssertionError(f"{run.id} ended with {seen} of {count}")


LONG_S = 6.0
"""Longer than a tool may stay silent, and than a step of the run may take."""
