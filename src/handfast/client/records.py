"""Export a run as a whole, and erase it. A conversation is personal data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode

from handfast.client.run import Run
from handfast.client.stores import Stores
from handfast.errors import ArchiveDamagedError, ArtifactsUnavailableError, HistoryExpiredError, RunGoesOnError
from handfast.payloads.continuation import ARCHIVE, CHILD_ID
from handfast.payloads.events import RunStarted
from handfast.payloads.json_profile import JsonObject
from handfast.storage.artifacts import place_of_run
from handfast.temporal.rpc import is_missing_namespace, typed_errors
from handfast.temporal.search_attributes import quoted

GONE_WITHIN_S: Final = 120.0
"""Limit of time for the server to delete histories. Measured: four seconds on ours, 35 on one with default settings."""
LOOK_EVERY_S: Final = 0.1
WRITTEN_WITHIN: Final = timedelta(seconds=20)
"""Longest wait for a history that is being archived, before that is ended."""


STORE_S: Final = 120.0
"""Limit of time for one access to the store of artifacts."""
FORMAT: Final = 1
"""Version of the lines; readers skip kinds and fields that they do not know."""


@dataclass(frozen=True)
class Erased:
    """The parts of a run that were erased.

    Attributes:
        run: Its workflow id.
        histories: Temporal's ids of the runs whose histories the server had.
        artifacts: Names of the outputs that were kept outside of them.
        archived: Names of the files that the archive had.
    """

    run: str
    histories: tuple[str, ...]
    artifacts: tuple[str, ...]
    archived: tuple[str, ...]

    @property
    def nothing(self) -> bool:
        """True where there was nothing to erase."""
        return not (self.histories or self.artifacts or self.archived)


async def erase(client: Client, stores: Stores, id: str, *, terminate: bool) -> Erased:
    """See `Handfast.erase`."""
    namespace = client.namespace
    with typed_errors(client):
        await _end(client, id, terminate=terminate)
        histories = await _executions(client, id)
        going = [(id, run_id) for run_id in histories]
        for run_id in histories:
            for child in await _archivings(client, id, run_id):
                await _settle(client, child)
                going.append((child, ""))
        for execution in going:
            await _delete(client, *execution)
        artifacts: list[str] = []
        if stores.artifacts is not None:
            artifacts = await _reached(place_of_run(stores.artifacts, namespace, id).erase)
        archived = [] if stores.archive is None else await stores.archive.erase(namespace, id)
        await _gone(client, id, going)
    return Erased(id, tuple(histories), tuple(artifacts), tuple(archived))


async def export(client: Client, stores: Stores, id: str) -> AsyncGenerator[JsonObject]:
    """See `Handfast.export`."""
    run = Run(client, id, stores=stores)
    frames: list[str] = []
    begun = False
    async for event in run.events(wait=False):
        if not begun:
            begun = True
            yield {"kind": "run", "format": FORMAT, "run": id, "namespace": client.namespace}
        if isinstance(event, RunStarted) and event.frame not in frames:
            frames.append(event.frame)
        yield {"kind": "event", "event": event.model_dump(mode="json", exclude_none=True)}
    for frame in frames:
        try:
            items = await run.transcript(frame=frame)
        except (HistoryExpiredError, ArchiveDamagedError) as error:
            yield {"kind": "missing", "what": "transcript", "frame": frame, "why": str(error)}
            continue
        for item in items:
            yield {"kind": "item", "frame": frame, "item": item}
    if stores.artifacts is not None:
        place = place_of_run(stores.artifacts, client.namespace, id)
        for name in await _reached(place.names):
            yield {"kind": "artifact", "name": name}


async def _reached(work: Callable[[], list[str]]) -> list[str]:
    """Ask the store of artifacts for something; whatever the medium says has one type.

    Raises:
        ArtifactsUnavailableError: It cannot be reached.
    """
    try:
        return await asyncio.wait_for(asyncio.to_thread(work), STORE_S)
    except Exception as error:
        raise ArtifactsUnavailableError(type(error).__name__) from error


async def _executions(client: Client, id: str) -> list[str]:
    """List Temporal's runs of a workflow id, and, as lists lag behind, those that the newest one continues."""
    listed = [each.run_id async for each in client.list_workflows(f"WorkflowId = {quoted([id])}")]
    found = dict.fromkeys(reversed(listed))
    with _nothing_found():
        run_id = (await client.get_workflow_handle(id).describe()).run_id
        while run_id:
            found.setdefault(run_id)
            run_id = await _continued_by(client, id, run_id)
    return list(found)


async def _continued_by(client: Client, id: str, run_id: str) -> str:
    """Read which run this one continues; an empty text where it continues none."""
    async for first in client.get_workflow_handle(id, run_id=run_id).fetch_history_events(page_size=1):
        return first.workflow_execution_started_event_attributes.continued_execution_run_id
    return ""


async def _end(client: Client, id: str, *, terminate: bool) -> None:
    handle = client.get_workflow_handle(id)
    with _nothing_found():
        if (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING:
            return
        if not terminate:
            raise RunGoesOnError(id)
        await handle.terminate("erased")


async def _archivings(client: Client, id: str, run_id: str) -> list[str]:
    """List the workflows that had, or are having, this history archived: they name the run."""
    found = {CHILD_ID + run_id: None}
    with _nothing_found():
        async for event in client.get_workflow_handle(id, run_id=run_id).fetch_history_events():
            if event.event_type == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
                child = event.start_child_workflow_execution_initiated_event_attributes
                if child.workflow_type.name == ARCHIVE:
                    found[child.workflow_id] = None
    return list(found)


async def _settle(client: Client, id: str) -> None:
    """Wait for an archiving that is under way: it would write after the erasure otherwise."""
    handle = client.get_workflow_handle(id)
    with _nothing_found():
        if (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING:
            return
        try:
            with suppress(WorkflowFailureError):
                await asyncio.wait_for(handle.result(), WRITTEN_WITHIN.total_seconds())
        except TimeoutError:
            await handle.terminate("what it archives is erased")


async def _delete(client: Client, id: str, run_id: str) -> None:
    execution = WorkflowExecution(workflow_id=id, run_id=run_id)
    request = DeleteWorkflowExecutionRequest(namespace=client.namespace, workflow_execution=execution)
    with _nothing_found():
        await client.workflow_service.delete_workflow_execution(request)


async def _gone(client: Client, id: str, executions: Sequence[tuple[str, str]]) -> None:
    """Wait until the server has deleted them, which it does behind our back."""
    try:
        async with asyncio.timeout(GONE_WITHIN_S):
            for execution_id, run_id in executions:
                with _nothing_found():
                    handle = client.get_workflow_handle(execution_id, run_id=run_id or None)
                    while True:
                        await handle.describe()  # raises once it is gone
                        await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError as error:
        raise TimeoutError(f"the server has yet to delete histories of {id}; erase it again to be sure") from error


@contextmanager
def _nothing_found() -> Iterator[None]:
    """Leave the block where the server does not know what is asked about."""
    try:
        yield
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND or is_missing_namespace(error):
            raise
