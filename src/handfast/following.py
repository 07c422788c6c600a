"""Following a run: its events, live or afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator

from handfast.past import PastSegments
from handfast.payloads.events import RunEvent
from handfast.reach import Reach
from handfast.segments import Segments, ServerSegments, events_of


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
