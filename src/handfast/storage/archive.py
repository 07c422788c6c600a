"""Keep the histories of runs beyond the server's retention."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from google.protobuf.message import DecodeError, Message
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.history.v1 import History, HistoryEvent

from handfast.errors import ArchiveDamagedError, ArchiveUnavailableError
from handfast.storage.artifacts import ArtifactStore, artifact_store, place_of_run

__all__ = ["Archive", "Segment", "archive_at"]

STORE_S: Final = 120.0
"""Limit for one access to the store."""
_HISTORY: Final = "history-"
_TRANSCRIPT: Final = "transcript-"
_SEGMENT: Final = re.compile(r"history-(?P<ms>[0-9]{13})-(?P<run>[0-9a-z-]+)\.pb\.gz")

T = TypeVar("T")
M = TypeVar("M", History, Payloads)


@dataclass(frozen=True)
class Segment:
    """One archived Temporal run of a chain.

    Attributes:
        name: Name of the file that holds its history.
        run_id: Temporal's id of it.
        began_at: Start of the run; a chain is in this order.
    """

    name: str
    run_id: str
    began_at: datetime


class Archive:
    """Histories of runs, segment by segment, each in one file; and the transcript of a run that has ended.

    An archived history is the server's: its events as protobuf (`temporal.api.history.v1.History`, compressed), their
    payloads as the user's codec encoded them. So a codec protects the archive as it protects the server, and every
    later way to look at a history works on old ones too. The transcript lies beside it, as only the workflow knows it.
    """

    def __init__(self, store: ArtifactStore) -> None:
        """Take the store; each run has a place of its own in it."""
        self._store = store

    async def keep(
        self, namespace: str, workflow_id: str, run_id: str, events: Sequence[HistoryEvent]
    ) -> tuple[str, int]:
        """Keep the history of one Temporal run; equal events are equal bytes. Return name and size of the file."""
        began_ms = events[0].event_time.ToMilliseconds()
        name = f"{_HISTORY}{began_ms:013d}-{run_id}.pb.gz"
        data = await asyncio.to_thread(_packed, History(events=events))
        await self._at(namespace, workflow_id, lambda place: place.write(name, data))
        return name, len(data)

    async def keep_transcripts(
        self, namespace: str, workflow_id: str, run_id: str, transcripts: Mapping[str, Payload]
    ) -> None:
        """Keep the conversations of a run that has ended, each as one encoded payload, by frame."""
        for frame, payload in transcripts.items():
            data = await asyncio.to_thread(_packed, Payloads(payloads=[payload]))
            name = f"{_TRANSCRIPT}{run_id}-{frame}.pb.gz"
            await self._at(namespace, workflow_id, _writing(name, data))

    async def segments(self, namespace: str, workflow_id: str) -> list[Segment]:
        """List the archived runs of a workflow id, oldest first."""
        names = await self._reached(namespace, workflow_id, lambda place: place.names())
        return [segment for name in names if (segment := _segment(name)) is not None]

    async def last_of(self, namespace: str, workflow_id: str, first: str | None) -> str | None:
        """Return the run id of the last archived segment of the chain that begins with *first*; None takes the newest.

        Returns:
            None where nothing of the chain is archived.

        Raises:
            ArchiveDamagedError: A file is damaged, as in `history`.
        """
        for segment in reversed(await self.segments(namespace, workflow_id)):
            events = None if first is None else await self.history(namespace, workflow_id, segment.run_id)
            if events is None or events[0].workflow_execution_started_event_attributes.first_execution_run_id == first:
                return segment.run_id
        return None

    async def history(self, namespace: str, workflow_id: str, run_id: str) -> list[HistoryEvent] | None:
        """Return the events of one Temporal run; None where they are not archived.

        Raises:
            ArchiveDamagedError: The file is cut, another run's, or without some of the events that were in it.
        """
        found = [each for each in await self.segments(namespace, workflow_id) if each.run_id == run_id]
        if not found:
            return None
        data = await self._reached(namespace, workflow_id, lambda place: place.read(found[0].name))
        events = list((await asyncio.to_thread(_unpacked, History, found[0].name, data)).events)
        if not events or run_id not in _run_ids(events):
            raise ArchiveDamagedError(found[0].name, "it holds another history, or none")
        if not _whole(events):
            raise ArchiveDamagedError(found[0].name, "events were taken out of it")
        return events

    async def transcript(self, namespace: str, workflow_id: str, run_id: str, frame: str) -> Payload | None:
        """Return an archived conversation, encoded; None where it is not archived.

        Raises:
            ArchiveDamagedError: The file is cut.
        """
        name = f"{_TRANSCRIPT}{run_id}-{frame}.pb.gz"
        try:
            data = await self._reached(namespace, workflow_id, lambda place: place.read(name))
        except FileNotFoundError:
            return None
        payloads = (await asyncio.to_thread(_unpacked, Payloads, name, data)).payloads
        if len(payloads) != 1:
            raise ArchiveDamagedError(name, "it holds no conversation")
        return payloads[0]

    async def erase(self, namespace: str, workflow_id: str) -> list[str]:
        """Erase the archive of a workflow id; return the names of the files."""
        return await self._reached(namespace, workflow_id, lambda place: place.erase())

    async def _reached(self, namespace: str, workflow_id: str, work: Callable[[ArtifactStore], T]) -> T:
        """Access the store for a client.

        Raises:
            FileNotFoundError: There is no such file.
            ArchiveUnavailableError: The store failed in another way.
        """
        try:
            return await self._at(namespace, workflow_id, work)
        except FileNotFoundError:
            raise
        except Exception as error:
            raise ArchiveUnavailableError(type(error).__name__) from error

    async def _at(self, namespace: str, workflow_id: str, work: Callable[[ArtifactStore], T]) -> T:
        place = place_of_run(self._store, namespace, workflow_id)
        return await asyncio.wait_for(asyncio.to_thread(work, place), STORE_S)


def archive_at(location: str | os.PathLike[str] | None) -> Archive | None:
    """Return the archive at a folder's path or a URL; None takes ``HANDFAST_ARCHIVE``, and without that there is none.

    Raises:
        DefinitionError: *location* is neither path nor URL, or fsspec lacks a package that the URL needs.
    """
    found = location or os.environ.get("HANDFAST_ARCHIVE") or None
    return None if found is None else Archive(artifact_store(found, "archive"))


def _packed(message: Message) -> bytes:
    return gzip.compress(message.SerializeToString(deterministic=True), mtime=0)


def _writing(name: str, data: bytes) -> Callable[[ArtifactStore], Any]:
    return lambda place: place.write(name, data)


def _unpacked(kind: type[M], name: str, data: bytes) -> M:
    try:
        return kind.FromString(gzip.decompress(data))
    except (OSError, EOFError, zlib.error, DecodeError) as error:
        raise ArchiveDamagedError(name, f"it cannot be unpacked ({type(error).__name__})") from error


def _whole(events: Sequence[HistoryEvent]) -> bool:
    # The server numbers them from 1 without gaps.
    return [each.event_id for each in events] == list(range(1, len(events) + 1))


def _run_ids(events: Sequence[HistoryEvent]) -> set[str]:
    """Return the run that a history was begun as, and those that resets made of it."""
    resets = (event.workflow_task_failed_event_attributes.new_run_id for event in events)
    return {events[0].workflow_execution_started_event_attributes.original_execution_run_id, *resets}


def _segment(name: str) -> Segment | None:
    found = _SEGMENT.fullmatch(name)
    if found is None:
        return None
    return Segment(name, found["run"], datetime.fromtimestamp(int(found["ms"]) / 1000, UTC))
