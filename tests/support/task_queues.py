"""A worker on another task queue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio.worker import Worker

from handfast import HandfastPlugin, Tool
from handfast.testing import Lab
from handfast.worker import make_worker


@asynccontextmanager
async def elsewhere(lab: Lab, queue: str, *tools: Tool[..., Any]) -> AsyncIterator[Worker]:
    """A worker on another queue with tools alone: no agents, no model client."""
    worker = make_worker(lab.client, HandfastPlugin(tools=tools), task_queue=queue, grace=timedelta(seconds=2))
    async with worker:
        yield worker
