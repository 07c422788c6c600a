"""The segments of a run: Temporal histories, one after the other; each continue-as-new begins another one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol, Self

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.service import RPCError, RPCStatusCode

from handfast.encryption.converter import of_workflow
from handfast.errors import HistoryExpiredError, OffsetUnknownError
from handfast.history.chain import current
from handfast.history.events import project
from handfast.history.reader import history_of
from handfast.payloads.events import Continued, RunEvent
from handfast.temporal.rpc import AWAY, is_failed, is_missing_namespace, typed_errors

RECONNECT_FOR: Final = timedelta(minutes=10)
"""Longest wait of a reader that follows a run for a server that is away."""
RECONNECT_PAUSE: Final = (0.2, 5.0)
"""Seconds between two tries, the first and the longest."""

_GONE: Final = frozenset({RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT})
_OFFSET: Final = re.compile(r"(?P<run>[0-9A-Za-z-]{1,64}):(?P<event>[1-9][0-9]{0,8})\.(?P<n>[0-9]{1,8})")


@dataclass(frozen=True, order=True)
class Place:
    """The place of an event in its segment."""

    event_id: int
    n: int


@dataclass(frozen=True)
class Offset:
    """The place of an event in a run: ``<Temporal run id>:<event id>.<n>``."""

    run_id: str
    place: Place

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read an event's offset; None where the text is none."""
        found = _OFFSET.fullmatch(text)
        if found is None:
            return None
        return cls(found["run"], Place(int(found["event"]), int(found["n"])))


class Segments(Protocol):
    """A source of the segments of one run's chain."""

    async def first(self) -> str:
        """Return Temporal's id of the first segment.

        Raises:
            RunNotFoundError: Nobody knows the run.
        """
        ...

    async def check(self, offset: Offset) -> None:
        """Make sure that an offset is a place in this chain.

        Raises:
            OffsetUnknownError: It is none.
        """
        ...

    def events(self, run_id: str, *, wait: bool) -> AsyncIterator[RunEvent]:
        """Yield the events of one segment from its first one; with *wait*, those to come too, until it ends.

        Raises:
            HistoryExpiredError: It is there no longer.
        """
        ...


async def events_of(segments: Segments, workflow_id: str, *, after: str | None, wait: bool) -> AsyncIterator[RunEvent]:
    """Yield a run's events over all its segments, in order, each once.

    Raises:
        OffsetUnknownError: *after* is no place in this run.
        HistoryExpiredError: A segment is there no longer.
    """
    start: Offset | None = None
    if after is not None:
        start = Offset.parse(after)
        if start is None:
            raise OffsetUnknownError(workflow_id, after)
        await segments.check(start)
    run_id = start.run_id if start is not None else await segments.first()
    while True:
        following: str | None = None
        async for event in segments.events(run_id, wait=wait):
            here = Offset.parse(event.offset)
            if isinstance(event, Continued):
                if start is not None and here is not None and start.place > here.place:
                    raise OffsetUnknownError(workflow_id, str(after))  # the segment has ended before that
                following = event.run_id
            elif start is None or here is None or here.place > start.place:
                yield event
        if following is None:
            return
        run_id, start = following, None


class ServerSegments:
    """Segments as the server has them."""

    def __init__(self, client: Client, workflow_id: str, first: str | None = None) -> None:
        """Name a run.

        Args:
            client: Connected.
            workflow_id: The run's.
            first: Run id of its first segment; None takes the newest run of that id.
        """
        self._client = client
        self._id = workflow_id
        self._first = first
        self._converter = of_workflow(client, workflow_id)

    async def first(self) -> str:
        """As `Segments.first`."""
        description = await self._describe()
        return description.raw_description.workflow_execution_info.first_run_id or description.run_id

    async def check(self, offset: Offset) -> None:
        """As `Segments.check`."""
        description = await self._describe()
        info = description.raw_description.workflow_execution_info
        chain = info.first_run_id or description.run_id
        unknown = OffsetUnknownError(self._id, f"{offset.run_id}:{offset.place.event_id}.{offset.place.n}")
        if offset.run_id == description.run_id:
            if offset.place.event_id > info.history_length:
                raise unknown
            return
        began = await self._beginning(offset.run_id)
        if began is None:
            # The oldest segments expire first: while the first one is there, so are all the others.
            if await self._beginning(chain) is None:
                raise HistoryExpiredError(self._id, offset.run_id)
            raise unknown
        if began.workflow_execution_started_event_attributes.first_execution_run_id != chain:
            raise unknown

    async def events(self, run_id: str, *, wait: bool) -> AsyncIterator[RunEvent]:
        """As `Segments.events`."""
        async for event in project(run_id, self._history(run_id, wait=wait), self._converter):
            yield event

    async def _history(self, run_id: str, *, wait: bool) -> AsyncIterator[HistoryEvent]:
        """Read one segment's history; a reader that waits outlives a server that is restarted."""
        handle = self._client.get_workflow_handle(self._id, run_id=run_id)
        seen = 0
        loop = asyncio.get_running_loop()
        away_since: float | None = None
        pause = RECONNECT_PAUSE[0]
        while True:
            try:
                async for event in history_of(handle, wait=wait):
                    away_since, pause = None, RECONNECT_PAUSE[0]
                    if event.event_id > seen:
                        seen = event.event_id
                        yield event
            except RPCError as error:
                away_since = away_since or loop.time()
                patient = loop.time() - away_since < RECONNECT_FOR.total_seconds()
                if wait and patient and (error.status in AWAY or is_failed(error)):
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, RECONNECT_PAUSE[1])
                    continue
                if error.status is RPCStatusCode.NOT_FOUND and not is_missing_namespace(error):
                    raise HistoryExpiredError(self._id, run_id) from error
                with typed_errors(self._client, self._id):
                    raise
            else:
                return

    async def _describe(self) -> WorkflowExecutionDescription:
        with typed_errors(self._client, self._id):
            return await current(self._client, self._id, self._first)

    async def _beginning(self, run_id: str) -> HistoryEvent | None:
        """Read the first event of a segment; None where the server knows no such segment of this workflow."""
        handle = self._client.get_workflow_handle(self._id, run_id=run_id)
        with typed_errors(self._client):
            try:
                async for event in handle.fetch_history_events(page_size=1):
                    return event
            except RPCError as error:
                if error.status in _GONE and not is_missing_namespace(error):
                    return None
                raise
        return None
