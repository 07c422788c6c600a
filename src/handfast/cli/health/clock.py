"""Compare this machine's clock with the server's."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import suppress
from datetime import timedelta
from typing import Final

from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from handfast.cli.health.findings import Finding
from handfast.client.client import Handfast
from handfast.temporal.pollers import ACTIVITIES, pollers
from handfast.temporal.rpc import typed_errors

QUEUE: Final = "handfast-doctor"
"""Nothing is ever scheduled there: the server notes by its own clock when somebody polls."""
SEEN_WITHIN_S: Final = 5.0
LOOK_S: Final = 0.01
APART_S: Final = 5.0
"""Deadlines are kept by the server; what people see of them is reckoned by their own machine."""


async def look_at_clock(hf: Handfast) -> list[Finding]:
    """Compare the clocks."""
    with typed_errors(hf.client):
        ahead_s = await server_ahead(hf.client)
    if ahead_s is None:
        return [Finding("clock", "note", "the server did not say what time it has", "run `handfast doctor` again")]
    facts = {"server_ahead_s": round(ahead_s, 3)}
    if abs(ahead_s) < APART_S:
        return [Finding("clock", "ok", f"the server's is within {abs(ahead_s):.2f} s of this machine's", facts=facts)]
    word = "ahead of" if ahead_s > 0 else "behind"
    said = f"the server's is {abs(ahead_s):.0f} s {word} this machine's: deadlines are the server's"
    return [Finding("clock", "wrong", said, "set both by the same time service (NTP)", facts)]


async def server_ahead(client: Client) -> float | None:
    """Seconds that the server's clock is ahead at least, negative where it is behind; 0 where the answer is unsure.

    No call of the server tells its time. But it notes when somebody polls a task queue, so this polls one of its own
    for a moment, and asks when that was.
    """
    identity = f"doctor-{uuid.uuid4().hex[:8]}"
    request = PollActivityTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=QUEUE), identity=identity
    )
    before = time.time()
    service = client.workflow_service
    polling = asyncio.ensure_future(service.poll_activity_task_queue(request, timeout=timedelta(seconds=SEEN_WITHIN_S)))
    try:
        while time.time() < before + SEEN_WITHIN_S and not polling.done():
            for poller in await pollers(client, QUEUE, ACTIVITIES):
                if poller.identity == identity:
                    noted = poller.last_access_time.ToNanoseconds() / 1e9
                    return max(noted - time.time(), 0.0) or min(noted - before, 0.0)
            await asyncio.sleep(LOOK_S)
        return None
    finally:
        polling.cancel()
        with suppress(asyncio.CancelledError, RPCError):
            await polling
