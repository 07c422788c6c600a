"""Heartbeats of our own: from a thread that no tool can block, with details that no other beat erases.

The SDK throttles its heartbeats to 0.8 of the timeout, and one without details erases earlier ones. Ours are raw
RPCs: the
server's reply also says whether a cancel was requested, so a stock worker stops a tool within about a second.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any, Final

from temporalio import activity
from temporalio.api.common.v1 import Payloads
from temporalio.api.workflowservice.v1 import RecordActivityTaskHeartbeatRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

logger = logging.getLogger(__name__)

EVERY_S: Final = 1.0
FIRST_BEAT_S: Final = 2.5
"""How long the first beat may take: less than the heartbeat timeout that it has to beat."""
GONE: Final = frozenset({RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION})
"""The server no longer waits for this attempt."""


class NotAcknowledgedError(Exception):
    """The first beat got no answer in time, or the server no longer waits for this attempt."""


class Beats:
    """One thread with an event loop of its own, for every activity of a worker."""

    def start(self) -> None:
        """Start the thread. Not before: a worker that is made and never run would leave an open loop."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="holdfast-beats", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self._loop.close()

    @asynccontextmanager
    async def kept(
        self, details: Sequence[Any], on_cancel: Callable[[str], None], *, first: bool = True
    ) -> AsyncIterator[None]:
        """Beat for the activity that calls this, until the block is left.

        Args:
            details: The same with every beat.
            on_cancel: Called once, in the caller's loop, with "cancel" or "gone".
            first: Wait for the first beat's acknowledgement.

        Raises:
            NotAcknowledgedError: It did not come; the block is not entered.
        """
        client, info = activity.client(), activity.info()
        payloads = await client.data_converter.encode(details) if details else []
        request = RecordActivityTaskHeartbeatRequest(
            namespace=info.namespace,
            task_token=info.task_token,
            identity=client.identity,
            details=Payloads(payloads=payloads),
        )
        caller = asyncio.get_running_loop()

        def tell(why: str) -> None:
            caller.call_soon_threadsafe(on_cancel, why)

        if first:
            await self._first(client, request)
        beating = asyncio.run_coroutine_threadsafe(_beat(client, request, tell), self._loop)
        try:
            yield
        finally:
            beating.cancel()

    async def _first(self, client: Client, request: RecordActivityTaskHeartbeatRequest) -> None:
        answered: Future[bool] = asyncio.run_coroutine_threadsafe(_send(client, request), self._loop)
        try:
            cancelled = await asyncio.wait_for(asyncio.wrap_future(answered), FIRST_BEAT_S)
        except (TimeoutError, RPCError) as error:
            raise NotAcknowledgedError(str(error) or "no answer in time") from error
        if cancelled:
            raise NotAcknowledgedError("the call was cancelled before it began")


async def _send(client: Client, request: RecordActivityTaskHeartbeatRequest) -> bool:
    """Send one beat; whether a cancel was requested."""
    response = await client.workflow_service.record_activity_task_heartbeat(request)
    return bool(response.cancel_requested)


async def _beat(client: Client, request: RecordActivityTaskHeartbeatRequest, tell: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            cancelled = await asyncio.wait_for(_send(client, request), FIRST_BEAT_S)
        except (TimeoutError, RPCError) as error:
            if isinstance(error, RPCError) and error.status in GONE:
                tell("gone")
                return
            logger.debug("a heartbeat was lost: %s", error)
            continue
        if cancelled:
            tell("cancel")
            return
