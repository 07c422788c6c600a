"""Segments of a run from the server, and from an archive where the server no longer has them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from handfast.encryption.converter import of_workflow
from handfast.errors import HistoryExpiredError, OffsetUnknownError, RunNotFoundError
from handfast.history.events import project
from handfast.history.segments import Offset, ServerSegments
from handfast.payloads.events import RunEvent
from handfast.storage.archive import Archive


class PastSegments:
    """See `handfast.history.segments.Segments`. The archive has histories as the server had them: offsets agree."""

    def __init__(self, client: Client, workflow_id: str, archive: Archive, first: str | None = None) -> None:
        """Name a run; *first* is the Temporal run id of its first segment, None means the newest run of that id."""
        self._server = ServerSegments(client, workflow_id, first)
        self._archive = archive
        self._namespace = client.namespace
        self._id = workflow_id
        self._first = first
        self._converter = of_workflow(client, workflow_id)

    async def first(self) -> str:
        """As `Segments.first`."""
        try:
            return await self._server.first()
        except RunNotFoundError:
            if self._first is not None and await self._history(self._first) is not None:
                return self._first
            segments = await self._archive.segments(self._namespace, self._id)
            if self._first is not None or not segments:
                raise
            return await self._chain(segments[-1].run_id) or segments[-1].run_id

    async def check(self, offset: Offset) -> None:
        """As `Segments.check`."""
        try:
            await self._server.check(offset)
        except (RunNotFoundError, OffsetUnknownError) as error:  # the first includes an expired history
            events, wanted = await self._history(offset.run_id), await self._wanted()
            if events is None and (wanted is None or isinstance(error, HistoryExpiredError)):
                raise
            if events is None or offset.place.event_id > events[-1].event_id or wanted not in (None, _chain_of(events)):
                text = f"{offset.run_id}:{offset.place.event_id}.{offset.place.n}"
                raise OffsetUnknownError(self._id, text) from None

    async def events(self, run_id: str, *, wait: bool) -> AsyncIterator[RunEvent]:
        """As `Segments.events`."""
        begun = False
        try:
            async for event in self._server.events(run_id, wait=wait):
                begun = True
                yield event
        except HistoryExpiredError:
            archived = await self._history(run_id)
            if begun or archived is None:
                raise
        else:
            return
        async for event in project(run_id, _each(archived), self._converter):
            yield event

    # --- inside ---

    async def _history(self, run_id: str) -> list[HistoryEvent] | None:
        return await self._archive.history(self._namespace, self._id, run_id)

    async def _chain(self, run_id: str) -> str | None:
        events = await self._history(run_id)
        return None if events is None else _chain_of(events)

    async def _wanted(self) -> str | None:
        """Return the first run id of the chain that is read; None where nothing names it."""
        try:
            return await self.first()
        except RunNotFoundError:
            return None


def _chain_of(events: list[HistoryEvent]) -> str:
    return events[0].workflow_execution_started_event_attributes.first_execution_run_id


async def _each(events: list[HistoryEvent]) -> AsyncIterator[HistoryEvent]:
    for event in events:
        yield event
