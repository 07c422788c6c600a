"""The activity `handfast.archive`: reads a history from the server, and writes it into the archive."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from handfast.activities.runtime.beats import kept_alive
from handfast.activities.runtime.runtime import Runtime
from handfast.encryption.converter import of_workflow
from handfast.errors import ArtifactError, PayloadInvalidError
from handfast.history.conversation import whole_transcript
from handfast.payloads.continuation import ARCHIVE, Archived, ArchiveSegment
from handfast.payloads.json_profile import JsonObject
from handfast.temporal.rpc import is_lost_place

logger = logging.getLogger(__name__)

CLOSES_WITHIN_S: Final = 20.0
"""Time for which an attempt waits for a run that is about to close; then another one looks again."""
MAY_CLOSE_WITHIN_S: Final = 5.0
"""Time for which it waits for a run that need not close; then the events so far are written."""
QUERIED_ATTEMPTS: Final = 5
"""Attempts that fail where the transcript cannot be had; later ones do without."""


class WriteArchive:
    """The activity, as its method `run`, with the runtime of its worker."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @activity.defn(name=ARCHIVE)
    async def run(self, arg: object) -> JsonObject:
        """Write one history, once it is complete. Doing so again changes nothing.

        Raises:
            ApplicationError: ``StillOpen``, ``ArchiveMissing`` (another worker may have one), ``ArchiveUnwritable``,
                ``TranscriptUnavailable``: all are tried again. ``HistoryGone`` is not.
        """
        try:
            asked = ArchiveSegment.from_wire(arg)
        except PayloadInvalidError as error:
            raise ApplicationError(str(error), type="PayloadInvalid", non_retryable=True) from None
        cancelled = ApplicationError("the writing was cancelled", type="ArchivingCancelled", non_retryable=True)
        return await kept_alive(self._runtime.beats, self._written(asked), cancelled)

    async def _written(self, asked: ArchiveSegment) -> JsonObject:
        archive = self._runtime.archive
        if archive is None:
            raise ApplicationError(
                "this worker has no archive, and others of its task queue have one; give its HandfastPlugin archive=…",
                type="ArchiveMissing",
            )
        client = activity.client()
        events, closed = await _history(client, asked)
        if asked.closes and not closed:
            raise ApplicationError(f"{asked.workflow_id} has not closed yet", type="StillOpen")
        transcripts: dict[str, Payload] = {}
        if events[-1].event_type != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
            transcripts = await self._transcripts(client, asked)
        try:
            await archive.keep_transcripts(client.namespace, asked.workflow_id, asked.run_id, transcripts)
            name, size = await archive.keep(client.namespace, asked.workflow_id, asked.run_id, events)
        except Exception as error:
            # What the medium says may hold paths and addresses: that is logged.
            logger.warning("the history of %s could not be archived", asked.workflow_id, exc_info=error)
            raise ApplicationError(
                f"the archive cannot be written ({type(error).__name__})", type="ArchiveUnwritable"
            ) from None
        return Archived(name=name, events=len(events), bytes=size).to_wire()

    async def _transcripts(self, client: Client, asked: ArchiveSegment) -> dict[str, Payload]:
        """Return the conversations of the run's loops by frame, encoded by the user's converter and codec."""
        handle = client.get_workflow_handle(asked.workflow_id, run_id=asked.run_id)
        converter = of_workflow(client, asked.workflow_id)
        place = self._runtime.artifacts.place_of(asked.workflow_id)
        found: dict[str, Payload] = {}
        try:
            for frame in asked.frames:
                items = await whole_transcript(handle, asked.query, frame, place)
                [found[frame]] = await converter.encode([items])
        except (RPCError, WorkflowQueryFailedError, PayloadInvalidError, ArtifactError) as error:
            if activity.info().attempt <= QUERIED_ATTEMPTS:
                raise ApplicationError(
                    f"the transcript of {asked.workflow_id} cannot be had: {error}", type="TranscriptUnavailable"
                ) from None
            logger.warning("the history of %s is archived without its transcript: %s", asked.workflow_id, error)
        return found


async def _history(client: Client, asked: ArchiveSegment) -> tuple[list[HistoryEvent], bool]:
    """Return the run's events up to its close, and True; or those so far, and False, where it stays open."""
    handle = client.get_workflow_handle(asked.workflow_id, run_id=asked.run_id)
    found: list[HistoryEvent] = []
    try:
        async with asyncio.timeout(CLOSES_WITHIN_S if asked.closes else MAY_CLOSE_WITHIN_S):
            async for event in handle.fetch_history_events(wait_new_event=True):
                found.append(event)
    except TimeoutError:
        return found, False
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise ApplicationError(
                f"the server has no history of {asked.workflow_id} any more", type="HistoryGone", non_retryable=True
            ) from None
        kind = "HistoryChanged" if is_lost_place(error) else "HistoryUnavailable"
        raise ApplicationError(f"the history cannot be read: {error.message}", type=kind) from None
    return found, True
