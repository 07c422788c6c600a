"""A run as it is written: its events, and between them what is said on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final, cast

from temporalio.client import WorkflowExecutionDescription

from handfast.client.base import Reach
from handfast.client.merge import ENDS_SOMETHING, Cursor, Item, Merger
from handfast.deltas.reader import DeltaReader
from handfast.deltas.stream import DeltaStream, delta_stream
from handfast.errors import OffsetUnknownError, RunNotFoundError
from handfast.history.past import PastSegments
from handfast.history.segments import Offset, Segments, ServerSegments, events_of
from handfast.payloads.events import RunEvent

__all__ = ["Item", "Live"]

LOOK_S: Final = 5.0
"""How long one read waits for deltas."""


class Following(Reach):
    """What happens in a run, as it happens."""

    async def events(self, after: str | None = None, *, wait: bool = True) -> AsyncIterator[RunEvent]:
        """Yield what happened and happens, in order, each event once; the same whenever it is read.

        Computed from the history by long poll: no worker is needed, and nothing is kept for a reader, who may stall,
        leave, and go on anywhere from the offset of the last event that it had. Where the server is away, it is waited
        for, ten minutes at most.

        Args:
            after: Offset of the last event that is not wanted any more, one of `Run.stream` too; None begins with the
                first.
            wait: Go on until the run has ended; False stops with the last event that there is.

        Raises:
            RunNotFoundError: The server does not know the run.
            OffsetUnknownError: *after* is no place in this run.
            HistoryExpiredError: The server no longer has a part of the history that is wanted, and no archive here.
            ArchiveDamagedError: The archive has it no longer as it was written. ArchiveUnavailableError: It is away.
            HistoryUnreadableError: The history was written with a codec that this client does not have.
        """
        archive = self._stores.archive
        segments: Segments = ServerSegments(self._client, self.id, self._first)
        if archive is not None:
            segments = PastSegments(self._client, self.id, archive, self._first)
        start = None if after is None else after.partition("/")[0]
        async for event in events_of(segments, self.id, after=start, wait=wait):
            yield event


class Live(Following):
    """What happens in a run, and what is being written in it."""

    async def stream(self, after: str | None = None) -> AsyncIterator[Item]:
        """Yield the run's events, and the deltas of what is under way, in one order.

        The deltas of a model call come behind its `TurnStarted` and before its `ModelReplied`; a tool's progress comes
        between its `ToolCalled` and its output. Where an attempt is given up, a `DeltasDiscarded` says that what it has
        said in this turn is void. Deltas are there for runs that were started with ``stream=True``, for as long as the
        stream keeps them; without a stream of deltas, or with it away, these are the events alone.

        Nothing is kept for a reader, who may stall, leave, and go on anywhere from the `offset` of what it had last.

        Args:
            after: Offset of the last event or delta that is not wanted any more; None begins with the first.

        Raises:
            Exception: As `events`.
        """
        description = None if self._stores.deltas is None else await self._on_server()
        if self._stores.deltas is None or description is None:
            async for event in self.events(after):
                yield event
            return
        try:
            cursor = None if after is None else Cursor.parse(after)
        except ValueError:
            raise OffsetUnknownError(self.id, str(after)) from None
        stream = delta_stream(self._stores.deltas, "Handfast")
        try:
            async with aclosing(self._merged(stream, cursor, description)) as items:
                async for item in items:
                    yield item
        finally:
            if stream is not self._stores.deltas:
                await stream.close()

    async def _merged(
        self, stream: DeltaStream, after: Cursor | None, description: WorkflowExecutionDescription
    ) -> AsyncGenerator[Item]:
        merger = Merger(after)
        chain = description.raw_description.workflow_execution_info.first_run_id or description.run_id
        reader = DeltaReader(stream, chain, self._converter, merger.tell)
        looking: asyncio.Task[bool] = asyncio.create_task(reader.more())
        async with aclosing(self._segments_events(after)) as happening:
            coming = asyncio.create_task(_next(happening))
            try:
                while True:
                    await asyncio.wait({looking, coming}, return_when=asyncio.FIRST_COMPLETED)
                    if looking.done():
                        looking.result()
                        looking = asyncio.create_task(reader.more(LOOK_S))
                    if coming.done():
                        event = coming.result()
                        if event is None:
                            return
                        if isinstance(event, ENDS_SOMETHING):
                            await _caught_up(reader)
                        for item in merger.event(event):
                            yield item
                        coming = asyncio.create_task(_next(happening))
                    for item in merger.ready():
                        yield item
            finally:
                for task in (looking, coming):
                    task.cancel()
                await asyncio.gather(looking, coming, return_exceptions=True)

    async def _on_server(self) -> WorkflowExecutionDescription | None:
        """What the server knows of the run; None where it has forgotten it: then its events may be archived."""
        try:
            return await self._describe()
        except RunNotFoundError:
            return None

    def _segments_events(self, after: Cursor | None) -> AsyncGenerator[RunEvent]:
        """Events from the first of the segment that *after* lies in: they say which turns are under way."""
        if after is not None and Offset.parse(after.offset) is None:
            raise OffsetUnknownError(self.id, str(after))
        start = None if after is None else f"{after.offset.partition(':')[0]}:1.0"
        return cast("AsyncGenerator[RunEvent]", self.events(start))


async def _next(events: AsyncIterator[RunEvent]) -> RunEvent | None:
    return await anext(events, None)


async def _caught_up(reader: DeltaReader) -> None:
    """Read what has been said by now; where the stream is away, that is nothing."""
    while not reader.away and await reader.more():
        pass
