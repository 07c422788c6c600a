"""What of a run outlives the server's retention: its conversation, from the run itself or from an archive."""

from __future__ import annotations

import logging

from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowQueryFailedError
from temporalio.service import RPCError

from handfast.client.base import Reach
from handfast.errors import ArchiveDamagedError, ArchiveUnavailableError, HistoryExpiredError, RunNotFoundError
from handfast.history.conversation import whole_transcript
from handfast.payloads.json_profile import JsonObject
from handfast.storage.artifacts import ArtifactStore, place_of_run

logger = logging.getLogger(__name__)


class Lasting(Reach):
    """What can be read of a run, however long ago it ended."""

    async def transcript(self, *, frame: str = "0") -> list[JsonObject]:
        """The conversation, as items of the Responses API, in order; also what its model no longer reads.

        Comes from the run itself, which a worker has to answer; of one that has ended, from the archive where there is
        one: with workers down too, and when the server has forgotten the run.

        Args:
            frame: Which loop: "0" is a run's own; nested agents, and further runs of an `AgentHost`, have later ones.

        Raises:
            HistoryExpiredError: The server no longer has the run, and no archive here has its conversation.
            RunNotFoundError: Neither knows anything of it.
            TimeoutError: No worker answered.
            ArtifactError: A part of a long conversation is kept where this client cannot read it.
            ArchiveDamagedError: The server has forgotten it, and the archive has it no longer as it was written.
            ArchiveUnavailableError: Likewise, and the archive cannot be reached.
        """
        try:
            description = await self._describe()
        except RunNotFoundError:
            return await self._expired(frame)
        if description.status is not WorkflowExecutionStatus.RUNNING:
            try:
                archived = await self._archived(frame, description.run_id)
            except (ArchiveDamagedError, ArchiveUnavailableError) as error:
                logger.warning("%s is asked for its conversation: %s", self.id, type(error).__name__)
            else:
                if archived is not None:
                    return archived
        return await self._asked(description, frame)

    # --- inside ---

    @property
    def _place(self) -> ArtifactStore | None:
        """Where the run keeps what is too large for its history."""
        artifacts = self._stores.artifacts
        return None if artifacts is None else place_of_run(artifacts, self._client.namespace, self.id)

    async def _asked(self, description: WorkflowExecutionDescription, frame: str) -> list[JsonObject]:
        handle = self._client.get_workflow_handle(self.id, run_id=description.run_id)
        try:
            return await whole_transcript(handle, f"{self._prefix(description)}transcript", frame, self._place)
        except (RPCError, WorkflowQueryFailedError) as error:
            raise TimeoutError(f"no worker of {self.id} answered; look at its status, then try again") from error

    async def _expired(self, frame: str) -> list[JsonObject]:
        archive = self._stores.archive
        if archive is None:
            raise HistoryExpiredError(self.id)
        last = await archive.last_of(self._client.namespace, self.id, self._first)
        if last is None:
            raise RunNotFoundError(self.id)
        found = await self._archived(frame, last)
        if found is None:
            raise HistoryExpiredError(self.id, last)
        return found

    async def _archived(self, frame: str, run_id: str) -> list[JsonObject] | None:
        if self._stores.archive is None:
            return None
        payload = await self._stores.archive.transcript(self._client.namespace, self.id, run_id, frame)
        if payload is None:
            return None
        [items] = await self._converter.decode([payload])
        found: list[JsonObject] = items
        return found
