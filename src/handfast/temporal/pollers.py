"""Read which workers poll a task queue, as the server remembers them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue as TaskQueueName
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

POLLS_EVERY: Final = timedelta(seconds=70)
"""Time without a poll after which a worker counts as gone: its long poll lasts a minute."""
WORKFLOWS: Final = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
ACTIVITIES: Final = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY


async def pollers(client: Client, task_queue: str, kind: TaskQueueType.ValueType) -> list[PollerInfo]:
    """Return the pollers that the server has seen at a task queue within five minutes."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueueName(name=task_queue), task_queue_type=kind
    )
    return list((await client.workflow_service.describe_task_queue(request)).pollers)


async def versions_polling(client: Client, task_queue: str, kind: TaskQueueType.ValueType) -> frozenset[str]:
    """Return the versions of the workers that poll a queue, as ``deployment.build``; a worker without one has a dot.

    A worker that was killed counts for another minute.
    """
    since = datetime.now(UTC) - POLLS_EVERY
    return frozenset(
        f"{each.deployment_options.deployment_name}.{each.deployment_options.build_id}"
        for each in await pollers(client, task_queue, kind)
        if each.last_access_time.ToDatetime(tzinfo=UTC) > since
    )
