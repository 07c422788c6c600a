"""Replaying histories on the code at hand: what a CI runs before a deploy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.worker import Replayer

from handfast.client.lists import of_agents
from handfast.worker.plugin import HandfastPlugin

TOO_SLOW: Final = "[TMPRL1101]"
"""Mark of the SDK on a workflow that did not yield within two seconds."""
TRIES: Final = 5
"""Replays of one history on a machine that has no time for it."""


async def fetch_histories(client: Client, *, limit: int = 100) -> list[WorkflowHistory]:
    """Fetch the histories of the newest runs that go on: they are what the next deploy meets.

    Args:
        client: Connected. What its codec has encoded stays so.
        limit: Most runs.
    """
    query = f"{of_agents()} AND ExecutionStatus = 'Running'"
    return [
        await client.get_workflow_handle(each.id, run_id=each.run_id).fetch_history()
        async for each in client.list_workflows(query, limit=limit)
    ]


def has_begun(history: WorkflowHistory) -> bool:
    """Return whether there is anything to replay.

    Over a history that waits to begin, after a start delay or for a retry, the SDK's replayer would wait for ever.
    """
    return any(event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED for event in history.events)


async def replay(
    histories: Iterable[WorkflowHistory],
    *,
    workflows: Sequence[type] = (),
    data_converter: DataConverter | None = None,
) -> dict[str, Exception]:
    """Replay histories on today's code.

    Args:
        histories: As `fetch_histories` gives them, or `WorkflowHistory.from_json` reads them.
        workflows: Workflows of yours that are among them.
        data_converter: Of the client that they were made by, where it has a converter or codec of its own.

    Returns:
        Why each of those failed that did, by run id; empty where all replay.
    """
    replayer = Replayer(
        workflows=list(workflows),
        plugins=[HandfastPlugin()],
        data_converter=data_converter or DataConverter.default,
    )
    failures: dict[str, Exception] = {}
    for history in filter(has_begun, histories):
        failure = await failure_of(replayer, history)
        if failure is not None:
            failures[history.run_id] = failure
    return failures


async def failure_of(replayer: Replayer, history: WorkflowHistory) -> Exception | None:
    """Replay one history, and again where the machine had no time for it: that says nothing of the code.

    Returns:
        Why it failed; None where it replays.
    """
    for _ in range(TRIES):
        failure = (await replayer.replay_workflow(history, raise_on_replay_failure=False)).replay_failure
        if failure is None or TOO_SLOW not in str(failure):
            break
    return failure
