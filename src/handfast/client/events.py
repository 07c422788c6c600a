"""Read a run's events, and the deltas between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

from temporalio.client import WorkflowExecutionDescription

from handfast.client.handle import Handle
from handfast.client.merge import ENDS_SOMETHING, Cursor, Item, Merger
from handfast.deltas.reader import DeltaReader
from handfast.deltas.stream import DeltaStream, delta_stream
from handfast.errors import OffsetUnknownError, RunNotFoundError
from handfast.history.past import PastSegments
from handfast.history.segments import Offset, Segments, ServerSegments, events_of
from handfast.payloads.events import RunEvent

LOOK_S: Final = 5.0
"""Longest wait of one read for deltas."""


async def events(run: Handle, after: str | None = None, *, wait: bool = True) -> AsyncGenerator[RunEvent]:
    """See `Execution.events`."""
    archive = run.stores.archive
    segments: Segments = ServerSegments(run.client, run.id, run.first)
    if archive is not None:
        segments = PastSegments(run.client, run.id, archive, run.first)
    start = None if after is None else after.partition("/")[0]
    async for event in events_of(segments, run.id, after=start, wait=wait):
        yield event


async def stream(run: Handle, after: str | None = None) -> AsyncGenerator[Item]:
    """See `Execution.stream`."""
    told = run.stores.deltas
    description = None if told is None else await _on_server(run)
    if told is None or description is None:
        async for event in events(run, after):
            yield event
        return
    try:
        cursor = None if after is None else Cursor.parse(after)
    except ValueError:
        raise OffsetUnknownError(run.id, str(after)) from None
    deltas = delta_stream(told, "Handfast")
    try:
        async with aclosing(_merged(run, deltas, cursor, description)) as items:
            async for item in items:
                yield item
    finally:
        if deltas is not told:
            await deltas.close()


async def _merged(
    run: Handle, deltas: DeltaStream, after: Cursor | None, description: WorkflowExecutionDescription
) -> AsyncGenerator[Item]:
    merger = Merger(after)
    chain = description.raw_description.workflow_execution_info.first_run_id or description.run_id
    reader = DeltaReader(deltas, chain, run.converter, merger.tell)
    looking: asyncio.Task[bool] = asyncio.create_task(reader.more())
    async with aclosing(_segments_events(run, after)) as happening:
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
                        # The worker held up this ending until the stream had accepted its deltas.
                        await _catch_up(reader)
                    for item in merger.event(event):
                        yield item
                    coming = asyncio.create_task(_next(happening))
                for item in merger.ready():
                    yield item
        finally:
            for task in (looking, coming):
                task.cancel()
            await asyncio.gather(looking, coming, return_exceptions=True)


async def _on_server(run: Handle) -> WorkflowExecutionDescription | None:
    """Describe the run; None where the server has forgotten it: then its events may be archived."""
    try:
        return await run.describe()
    except RunNotFoundError:
        return None


def _segments_events(run: Handle, after: Cursor | None) -> AsyncGenerator[RunEvent]:
    """Read events from the first of the segment that *after* lies in: they say which turns are under way."""
    if after is not None and Offset.parse(after.offset) is None:
        raise OffsetUnknownError(run.id, str(after))
    start = None if after is None else f"{after.offset.partition(':')[0]}:1.0"
    return events(run, start)


async def _next(happening: AsyncIterator[RunEvent]) -> RunEvent | None:
    return await anext(happening, None)


async def _catch_up(reader: DeltaReader) -> None:
    """Read the deltas that are there by now; none where the stream is away."""
    while not reader.away and await reader.more():
        pass
