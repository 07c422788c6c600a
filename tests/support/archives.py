"""Archived runs that the server has forgotten."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer

from handfast import HandfastPlugin, Run
from handfast.storage.archive import Archive
from handfast.storage.artifacts import FolderStore
from handfast.testing import Lab


async def archiving(lab: Lab, run: Run) -> WorkflowHandle[Any, Any]:
    """The workflow that has a run's history archived."""
    begun = await lab.client.get_workflow_handle(run.id).describe()
    return lab.client.get_workflow_handle(f"handfast-archive-{begun.run_id}")


async def archived(lab: Lab, run: Run, folder: Path) -> WorkflowHistory:
    """The one segment of a run once it is archived; the workflow that had it written is replayed."""
    child = await archiving(lab, run)
    async with asyncio.timeout(30):
        await child.result()
    replayer = Replayer(workflows=[], plugins=[HandfastPlugin()], data_converter=lab.client.data_converter)
    await replayer.replay_workflow(await child.fetch_history())
    archive = Archive(FolderStore(folder))
    [segment] = await archive.segments("default", run.id)
    events = await archive.history("default", run.id, segment.run_id)
    assert events is not None
    return WorkflowHistory(run.id, events)


async def forget(lab: Lab, workflow_id: str, run_id: str = "") -> None:
    """Let the server forget a run, as it does after the namespace's retention."""
    execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
    request = DeleteWorkflowExecutionRequest(namespace="default", workflow_execution=execution)
    await lab.client.workflow_service.delete_workflow_execution(request)
    async with asyncio.timeout(30):
        while await known(lab.client, workflow_id, run_id):  # noqa: ASYNC110 - a deletion has no event to wait for
            await asyncio.sleep(0)


async def known(client: Client, workflow_id: str, run_id: str = "") -> bool:
    """Whether the server knows a workflow."""
    try:
        await client.get_workflow_handle(workflow_id, run_id=run_id or None).describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True


def files(folder: Path, run: Run, pattern: str) -> list[Path]:
    """Where the archive keeps such files of a run."""
    digest = hashlib.sha256(json.dumps(["default", run.id]).encode()).hexdigest()
    return list((folder / digest[:2] / digest).glob(pattern))
