"""The record of a run as a whole: taken out, and erased. A conversation is personal data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
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
from handfast.errors import ArchiveDamagedError, HistoryExpiredError, RunGoesOnError
from handfast.payloads.archiving import ARCHIVE, CHILD_ID
from handfast.payloads.events import RunStarted
from handfast.payloads.json_profile import JsonObject
from handfast.storage.artifacts import place_of_run
from handfast.temporal.rpc import is_missing_namespace, typed_errors
from handfast.temporal.visibility import quoted

GONE_WITHIN_S: Final = 120.0
"""How long the server may take to delete histories. Measured: four seconds on ours, 35 on one with default settings."""
LOOK_EVERY_S: Final = 0.1
WRITTEN_WITHIN: Final = timedelta(seconds=20)
"""How long a history that is being archived is waited for, before that is ended."""


FORMAT: Final = 1
"""Version of the lines; readers skip kinds and fields that they do not know."""


@dataclass(frozen=True)
class Erased:
    """What was erased of a run.

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
        """Whether there was nothing to erase."""
        return not (self.histories or self.artifacts or self.archived)


class Records:
    """Takes out and erases what is known of a run."""

    client: Client
    stores: Stores

    async def erase(self, id: str, *, terminate: bool = False) -> Erased:
        """Erase a run: its history on the server with those of all its continue-as-news, its artifacts, its archive.

        What other systems were told by its tools stays there; so do backups of the server's database and of the
        stores. Erasing again finds nothing, and is no error.

        Args:
            id: The workflow id; every run that ever had it is erased.
            terminate: End a run that goes on, at once: a call under way may take effect nevertheless.

        Raises:
            RunGoesOnError: It goes on, and *terminate* is False; nothing was erased.
            ArchiveUnavailableError: Histories are erased, the archive is not: erase again once it is back.
            TimeoutError: The server did not delete a history in time; erase again.
            ServerUnavailableError: The server is away. NamespaceNotFoundError: It lacks the client's namespace.
        """
        namespace = self.client.namespace
        with typed_errors(self.client):
            await self._ended(id, terminate=terminate)
            histories = await self._executions(id)
            going = [(id, run_id) for run_id in histories]
            for run_id in histories:
                for child in await self._archivings(id, run_id):
                    await self._settled(child)
                    going.append((child, ""))
            for execution in going:
                await self._delete(*execution)
            artifacts: list[str] = []
            if self.stores.artifacts is not None:
                artifacts = await asyncio.to_thread(place_of_run(self.stores.artifacts, namespace, id).erase)
            archive = self.stores.archive
            archived = [] if archive is None else await archive.erase(namespace, id)
            await self._gone(id, going)
        return Erased(id, tuple(histories), tuple(artifacts), tuple(archived))

    # --- inside ---

    async def _executions(self, id: str) -> list[str]:
        """Temporal's runs of a workflow id: those that are listed, and, as lists lag behind, those that the newest
        continues."""
        listed = [each.run_id async for each in self.client.list_workflows(f"WorkflowId = {quoted([id])}")]
        found = dict.fromkeys(reversed(listed))
        with _nothing_found():
            run_id = (await self.client.get_workflow_handle(id).describe()).run_id
            while run_id:
                found.setdefault(run_id)
                run_id = await self._continued_by(id, run_id)
        return list(found)

    async def _continued_by(self, id: str, run_id: str) -> str:
        """The run that this one continues; an empty text where it continues none."""
        async for first in self.client.get_workflow_handle(id, run_id=run_id).fetch_history_events(page_size=1):
            return first.workflow_execution_started_event_attributes.continued_execution_run_id
        return ""

    async def _ended(self, id: str, *, terminate: bool) -> None:
        handle = self.client.get_workflow_handle(id)
        with _nothing_found():
            if (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING:
                return
            if not terminate:
                raise RunGoesOnError(id)
            await handle.terminate("erased")

    async def _archivings(self, id: str, run_id: str) -> list[str]:
        """Ids of the workflows that had, or are having, this history archived: they name the run."""
        found = {CHILD_ID + run_id: None}
        with _nothing_found():
            async for event in self.client.get_workflow_handle(id, run_id=run_id).fetch_history_events():
                if event.event_type == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
                    child = event.start_child_workflow_execution_initiated_event_attributes
                    if child.workflow_type.name == ARCHIVE:
                        found[child.workflow_id] = None
        return list(found)

    async def _settled(self, id: str) -> None:
        """Let what is being written be written: it would come after the erasure otherwise."""
        handle = self.client.get_workflow_handle(id)
        with _nothing_found():
            if (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING:
                return
            try:
                with suppress(WorkflowFailureError):
                    await asyncio.wait_for(handle.result(), WRITTEN_WITHIN.total_seconds())
            except TimeoutError:
                await handle.terminate("what it archives is erased")

    async def _delete(self, id: str, run_id: str) -> None:
        execution = WorkflowExecution(workflow_id=id, run_id=run_id)
        request = DeleteWorkflowExecutionRequest(namespace=self.client.namespace, workflow_execution=execution)
        with _nothing_found():
            await self.client.workflow_service.delete_workflow_execution(request)

    async def _gone(self, id: str, executions: Sequence[tuple[str, str]]) -> None:
        """Wait until the server has deleted them, which it does behind our back."""
        try:
            async with asyncio.timeout(GONE_WITHIN_S):
                for execution_id, run_id in executions:
                    with _nothing_found():
                        handle = self.client.get_workflow_handle(execution_id, run_id=run_id or None)
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


class Exporting:
    """Takes a run out."""

    client: Client
    stores: Stores

    async def export(self, id: str) -> AsyncIterator[JsonObject]:
        """Yield all that is known of a run, line by line, for a file of JSON lines.

        By their ``kind``: one *run* (its id, namespace, the format's version), then each *event* as `Run.events` yields
        it, each *item* of the conversations with its ``frame``, each *artifact* by its ``name`` in the store (where
        `Handfast(artifacts=…)` says where that is), and one *missing* where the conversation is not to be had any more.
        A run that goes on is taken out as far as it has come.

        Args:
            id: The workflow id: the newest run of it, over all its histories.

        Raises:
            RunNotFoundError: Neither the server nor an archive knows the run.
            HistoryExpiredError: A part of its history is gone. ArchiveDamagedError: Likewise, in the archive.
            ArchiveUnavailableError: The archive is away.
            TimeoutError: It has no archive, and no worker answered for the conversation.
            ArtifactError: A part of a long conversation is kept where this client cannot read it.
        """
        run = Run(self.client, id, stores=self.stores)
        frames: list[str] = []
        begun = False
        async for event in run.events(wait=False):
            if not begun:
                begun = True
                yield {"kind": "run", "format": FORMAT, "run": id, "namespace": self.client.namespace}
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
        if self.stores.artifacts is not None:
            place = place_of_run(self.stores.artifacts, self.client.namespace, id)
            for name in await asyncio.to_thread(place.names):
                yield {"kind": "artifact", "name": name}
