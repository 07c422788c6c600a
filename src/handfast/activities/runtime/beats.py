"""Heartbeats of our own: from a thread that no tool can block, with details that no other beat erases.

The SDK throttles its heartbeats to 0.8 of the timeout, and one without details erases earlier ones. Ours are raw
RPCs: the
server's reply also says whether a cancel was requested, so a stock worker stops a tool within about a second.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from temporalio import activity
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.workflowservice.v1 import RecordActivityTaskHeartbeatRequest
from temporalio.bridge.proto import ActivityHeartbeat
from temporalio.client import Client
from temporalio.converter import ActivitySerializationContext
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

logger = logging.getLogger(__name__)

EVERY_S: Final = 1.0
RENEW_S: Final = 0.5
"""Pause between two renewals of the details."""
FIRST_BEAT_S: Final = 2.5
"""Time limit of the first heartbeat: less than the heartbeat timeout."""
GONE: Final = frozenset({RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION})
"""The server no longer waits for this attempt."""


Feed = Callable[[bytes, Sequence[Payload]], None]
"""Tells the SDK's core that an attempt is alive: task token and heartbeat details."""

OUR_BEAT: Final[ContextVar[bool]] = ContextVar("handfast_our_beat", default=False)
"""Set where ``activity.heartbeat`` is called by us: the guard of the mark lets it pass."""


class _Beat:
    """The details of one activity's heartbeats. Replaced whole, as the thread that sends reads it meanwhile.

    Attributes:
        said: The details, not yet encoded.
        request: The heartbeat, ready to be sent.
    """

    def __init__(self, client: Client, info: activity.Info, said: Sequence[Any]) -> None:
        self._client = client
        self._info = info
        self._converter = client.data_converter.with_context(
            ActivitySerializationContext(
                namespace=info.namespace,
                workflow_id=info.workflow_id,
                workflow_type=info.workflow_type,
                activity_type=info.activity_type,
                activity_id=info.activity_id,
                activity_task_queue=info.task_queue,
                is_local=info.is_local,
            )
        )
        self.said = said
        self.request = RecordActivityTaskHeartbeatRequest()

    async def say(self, details: Sequence[Any]) -> None:
        """Encode *details* here, in the loop that the user's codec knows."""
        payloads = await self._converter.encode(details) if details else []
        self.said = details
        self.request = RecordActivityTaskHeartbeatRequest(
            namespace=self._info.namespace,
            task_token=self._info.task_token,
            identity=self._client.identity,
            details=Payloads(payloads=payloads),
        )


class Beating:
    """The heartbeats of one activity while they go on."""

    def __init__(self, client: Client, beat: _Beat, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._beat = beat
        self._loop = loop

    async def say(self, details: Sequence[Any]) -> None:
        """Send *details* at once and from now on; return when the server has them, or did not answer in time."""
        await self._beat.say(details)
        answered = asyncio.run_coroutine_threadsafe(_send(self._client, self._beat.request), self._loop)
        try:
            await asyncio.wait_for(asyncio.wrap_future(answered), FIRST_BEAT_S)
        except (TimeoutError, RPCError) as error:
            logger.debug("a heartbeat was lost: %s", type(error).__name__)  # the next one says the same


class NotAcknowledgedError(Exception):
    """The first heartbeat got no answer in time, or the server no longer waits for this attempt."""


class Beats:
    """Sends the heartbeats of all activities of a worker, from a thread with an event loop of its own."""

    def start(self, feed: Feed | None = None) -> None:
        """Start the thread: a worker that is made and never run must not leave an open loop.

        Args:
            feed: Resets the SDK core's own timer from any thread; None does it from the worker's event loop.
        """
        self._feed = feed
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="handfast-beats", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread."""
        asyncio.run_coroutine_threadsafe(_end_all(), self._loop).add_done_callback(
            lambda _: self._loop.call_soon_threadsafe(self._loop.stop)
        )
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self._loop.close()

    @asynccontextmanager
    async def kept(
        self,
        details: Sequence[Any],
        on_cancel: Callable[[str], None],
        *,
        first: bool = True,
        renewed: Callable[[], Awaitable[Sequence[Any]]] | None = None,
    ) -> AsyncIterator[Beating]:
        """Send heartbeats for the current activity until the block is left.

        Args:
            details: Of every heartbeat, until others come.
            on_cancel: Called once, in the caller's loop, with "cancel" or "gone".
            first: Wait for the first beat's acknowledgement.
            renewed: Waits for something new to say; returns the details of all beats from then on.

        Raises:
            NotAcknowledgedError: It did not come; the block is not entered.
        """
        client, info = activity.client(), activity.info()
        beat = _Beat(client, info, details)
        await beat.say(details)
        caller = asyncio.get_running_loop()

        def tell(why: str) -> None:
            caller.call_soon_threadsafe(on_cancel, why)

        if first:
            await self._first(client, beat.request)
        beside = [asyncio.create_task(_feed_from_loop(beat))] if self._feed is None else []
        if renewed is not None:
            beside.append(asyncio.create_task(_renew(beat, renewed)))
        beating = asyncio.run_coroutine_threadsafe(_beat(client, beat, tell, self._feed), self._loop)
        try:
            yield Beating(client, beat, self._loop)
        finally:
            beating.cancel()
            for task in beside:
                task.cancel()

    async def _first(self, client: Client, request: RecordActivityTaskHeartbeatRequest) -> None:
        answered: Future[bool] = asyncio.run_coroutine_threadsafe(_send(client, request), self._loop)
        try:
            cancelled = await asyncio.wait_for(asyncio.wrap_future(answered), FIRST_BEAT_S)
        except (TimeoutError, RPCError) as error:
            raise NotAcknowledgedError(str(error) or "no answer in time") from error
        if cancelled:
            raise NotAcknowledgedError("the call was cancelled before it began")


async def _end_all() -> None:
    """Wait for the heartbeats that were told to stop, before the loop ends."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _send(client: Client, request: RecordActivityTaskHeartbeatRequest) -> bool:
    """Send one heartbeat; return True where a cancel was requested."""
    response = await client.workflow_service.record_activity_task_heartbeat(request)
    return bool(response.cancel_requested)


async def _beat(
    client: Client,
    beat: _Beat,
    tell: Callable[[str], None],
    feed: Feed | None,
) -> None:
    while True:
        await asyncio.sleep(EVERY_S)
        request = beat.request
        if feed is not None:
            feed(request.task_token, request.details.payloads)
        try:
            cancelled = await asyncio.wait_for(_send(client, request), FIRST_BEAT_S)
        except (TimeoutError, RPCError) as error:
            if isinstance(error, RPCError) and error.status in GONE:
                tell("gone")
                return
            logger.debug("a heartbeat was lost: %s", type(error).__name__)
            continue
        if cancelled:
            tell("cancel")
            return


async def _renew(beat: _Beat, renewed: Callable[[], Awaitable[Sequence[Any]]]) -> None:
    """Put new details into the heartbeats as they come."""
    while True:
        details = await renewed()
        try:
            await beat.say(details)
        except Exception as error:  # noqa: BLE001 - a codec of the user's: the beats go on with what they said before
            logger.warning("what a heartbeat was to say could not be encoded: %s", type(error).__name__)
        await asyncio.sleep(RENEW_S)


async def _feed_from_loop(beat: _Beat) -> None:
    """Keep the core's timer from ending an attempt, by the public way: a tool that blocks the loop holds it up."""
    OUR_BEAT.set(True)
    while True:
        await asyncio.sleep(EVERY_S)
        activity.heartbeat(*beat.said)


def core_feed(worker: Worker) -> Feed | None:
    """Return a function with which a thread tells *worker*'s core that an attempt is alive.

    The core ends an attempt, and drops what it answers, when it was not told anything for the heartbeat timeout and
    five seconds
    more; beats that go to the server directly do not count there. The SDK's public heartbeat needs the event loop,
    which a tool may block: this takes the way below it where it is there.
    """
    record = getattr(getattr(worker, "_bridge_worker", None), "record_activity_heartbeat", None)
    if record is None:
        return None

    def feed(task_token: bytes, details: Sequence[Payload]) -> None:
        try:
            record(ActivityHeartbeat(task_token=task_token, details=details))
        except Exception as error:  # noqa: BLE001 - the attempt has just ended, or the worker is closing
            logger.debug("the core took no heartbeat: %s", type(error).__name__)

    return feed


T = TypeVar("T")


class Saying:
    """The heartbeats of an activity, and why they ended it.

    Attributes:
        stopped: "cancel", or "gone": the server waits for this attempt no longer. None: it was not told to end.
    """

    def __init__(self) -> None:
        """Begin before the heartbeats do."""
        self.stopped: str | None = None
        self._begun: asyncio.Future[Beating] = asyncio.get_running_loop().create_future()

    @property
    def is_withdrawn(self) -> bool:
        """True once a cancel was asked for, whichever way the activity heard of it."""
        details = activity.cancellation_details()
        return self.stopped == "cancel" or (details is not None and details.cancel_requested)

    def begin(self, beating: Beating) -> None:
        """Take the heartbeats, which have begun."""
        self._begun.set_result(beating)

    async def say(self, details: Sequence[Any]) -> None:
        """Send *details* with every heartbeat from now on; return when the server has them."""
        await (await self._begun).say(details)


async def kept_alive(
    beats: Beats, work: Coroutine[Any, Any, T], cancelled: ApplicationError, saying: Saying | None = None
) -> T:
    """Send heartbeats while *work* goes on; a cancel ends it, whatever it is at.

    What the attempt before this one has said is said on, until *work* says something else.

    Raises:
        ApplicationError: *cancelled*, where the server wants the activity to end.
    """
    working = asyncio.create_task(work)
    says = saying or Saying()

    def stop(why: str) -> None:
        says.stopped = why
        if not working.cancelling():  # the SDK may have been faster, and what ends must not be cut short
            working.cancel()

    try:
        async with beats.kept(activity.info().heartbeat_details, stop, first=False) as beating:
            says.begin(beating)
            return await ended(working)
    except asyncio.CancelledError:
        if not working.cancelling():
            working.cancel()
        if says.stopped is None:
            raise
        raise cancelled from None


async def ended(working: asyncio.Task[T]) -> T:
    """Await *working*. A cancel of the caller cancels it once, so that its cleanup is not cut short.

    A cancel is heard of twice, by the beats and by the SDK. A task that is awaited as it is gets both.
    """
    while not working.done():
        try:
            await asyncio.wait([working])
        except asyncio.CancelledError:
            if not working.cancelling():
                working.cancel()
    return working.result()
