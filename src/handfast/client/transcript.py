"""Read the conversation of a run: from the run itself, or from an archive."""

from __future__ import annotations

import logging

from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowQueryFailedError
from temporalio.service import RPCError

from handfast.client.handle import Handle
from handfast.errors import ArchiveDamagedError, ArchiveUnavailableError, HistoryExpiredError, RunNotFoundError
from handfast.history.conversation import whole_transcript
from handfast.payloads.json_profile import JsonObject
from handfast.storage.artifacts import ArtifactStore, place_of_run

logger = logging.getLogger(__name__)


async def transcript(run: Handle, frame: str) -> list[JsonObject]:
    """See `Execution.transcript`."""
    try:
        description = await run.describe()
    except RunNotFoundError:
        return await _expired(run, frame)
    if description.status is not WorkflowExecutionStatus.RUNNING:
        try:
            archived = await _archived(run, frame, description.run_id)
        except (ArchiveDamagedError, ArchiveUnavailableError) as error:
            logger.warning("%s is asked for its conversation: %s", run.id, type(error).__name__)
        else:
            if archived is not None:
                return archived
    return await _asked(run, description, frame)


def place_of(run: Handle) -> ArtifactStore | None:
    """Return the part of the artifact store that belongs to a run; None without a store."""
    artifacts = run.stores.artifacts
    return None if artifacts is None else place_of_run(artifacts, run.client.namespace, run.id)


async def _asked(run: Handle, description: WorkflowExecutionDescription, frame: str) -> list[JsonObject]:
    handle = run.client.get_workflow_handle(run.id, run_id=description.run_id)
    try:
        return await whole_transcript(handle, f"{run.prefix(description)}transcript", frame, place_of(run))
    except (RPCError, WorkflowQueryFailedError) as error:
        raise TimeoutError(f"no worker of {run.id} answered; look at its status, then try again") from error


async def _expired(run: Handle, frame: str) -> list[JsonObject]:
    """Read the conversation of a run that the server has forgotten."""
    archive = run.stores.archive
    if archive is None:
        raise HistoryExpiredError(run.id)
    last = await archive.last_of(run.client.namespace, run.id, run.first)
    if last is None:
        raise RunNotFoundError(run.id)
    found = await _archived(run, frame, last)
    if found is None:
        raise HistoryExpiredError(run.id, last)
    return found


async def _archived(run: Handle, frame: str, run_id: str) -> list[JsonObject] | None:
    if run.stores.archive is None:
        return None
    payload = await run.stores.archive.transcript(run.client.namespace, run.id, run_id, frame)
    if payload is None:
        return None
    [items] = await run.converter.decode([payload])
    found: list[JsonObject] = items
    return found
