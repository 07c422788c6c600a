"""The way to the server, and what can be asked of it beside the client's own methods."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo
from temporalio.api.taskqueue.v1 import TaskQueue as TaskQueueName
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowQueryFailedError
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)
from temporalio.service import RPCError

from holdfast.cli.options import Where
from holdfast.client import Holdfast
from holdfast.payloads.requests import Request
from holdfast.payloads.runs import OWN_WORKFLOWS

POLLS_EVERY: Final = timedelta(seconds=70)
"""A worker's long poll lasts a minute; one that has not come back after this is gone."""
WHOLE_WITHIN: Final = timedelta(seconds=5)


def quiet_core(logger: logging.Logger | None = None) -> None:
    """Keep the SDK's native part from writing its log to stdout, which belongs to the command's own output.

    Args:
        logger: Gets its warnings instead; None drops them, as a client command says itself what is wrong.
    """
    if logger is None:
        logger = logging.getLogger("holdfast.cli.core")
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
    forwarding = LogForwardingConfig(logger)
    filtered = TelemetryFilter(core_level="WARN", other_level="ERROR")
    telemetry = TelemetryConfig(logging=LoggingConfig(filter=filtered, forwarding=forwarding))
    Runtime.set_default(Runtime(telemetry=telemetry), error_if_already_set=False)


async def holdfast(
    where: Where, task_queue: str | None = None, *, archive: str | None = None, artifacts: str | None = None
) -> Holdfast:
    """Connect.

    Raises:
        ServerUnavailableError: Nobody answers there.
    """
    quiet_core()
    return await Holdfast.connect(
        where.address,
        profile=where.profile,
        namespace=where.namespace,
        task_queue=task_queue,
        archive=archive,
        artifacts=artifacts,
    )


async def pollers(client: Client, task_queue: str, kind: TaskQueueType.ValueType) -> list[PollerInfo]:
    """Who polls a queue, as the server remembers it."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueueName(name=task_queue), task_queue_type=kind
    )
    return list((await client.workflow_service.describe_task_queue(request)).pollers)


async def has_worker(client: Client, task_queue: str) -> bool:
    """Whether some worker polls the queue. One that was killed counts for another minute."""
    since = datetime.now(UTC) - POLLS_EVERY
    found = await pollers(client, task_queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW)
    return any(each.last_access_time.ToDatetime(tzinfo=UTC) > since for each in found)


def no_worker(task_queue: str) -> str:
    """Say that nobody polls the queue, and the remedy."""
    return (
        f"no worker polls the task queue {task_queue}; start one with "
        f"`holdfast worker MODULE --task-queue {task_queue}`: nothing is lost until then"
    )


async def trouble(client: Client, described: WorkflowExecutionDescription) -> str | None:
    """Why a run that goes on does not get on, as far as the server can tell."""
    task = described.raw_description.pending_workflow_task
    if task.attempt > 1:
        return (
            f"its worker fails on it (workflow task, attempt {task.attempt}): a deploy that does not fit its history, "
            "or a bug; roll the worker back, see the run in Temporal's page"
        )
    for activity in described.raw_description.pending_activities:
        if activity.attempt > 1 and activity.HasField("last_failure"):
            return f"{activity.activity_type.name}, attempt {activity.attempt}: {activity.last_failure.message}"
    if not await has_worker(client, described.task_queue):
        return no_worker(described.task_queue)
    return None


async def whole(client: Client, run_id: str, workflow: str, requests: list[Request]) -> list[Request]:
    """Give requests their full arguments: the server's list shows long ones by their start only.

    Where no worker answers they stay as they are.
    """
    if all(request.arguments_preview is None for request in requests):
        return requests
    prefix = "" if workflow in OWN_WORKFLOWS else "holdfast."
    handle = client.get_workflow_handle(run_id)
    try:
        answer = await handle.query(f"{prefix}pending_approvals", rpc_timeout=WHOLE_WITHIN)
    except (RPCError, WorkflowQueryFailedError):
        return requests
    full = {request.id: request for request in map(Request.from_wire, answer)}
    return [full.get(request.id, request) for request in requests]
