"""Has the history of a workflow's run archived: in a workflow of its own, so that no run waits for an archive."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

from handfast.errors import PayloadInvalidError
from handfast.payloads.continuation import ARCHIVE, CHILD_ID, ArchiveSegment
from handfast.payloads.json_profile import JsonObject
from handfast.workflows.state.runs import Runs
from handfast.workflows.tasks.await_activity import Done, Failed, await_activity, start_activity
from handfast.workflows.tasks.marks import TaskMarks

WRITING: Final = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(minutes=10),
    schedule_to_close_timeout=timedelta(days=7),
    heartbeat_timeout=timedelta(seconds=30),
    retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=10)),
)
"""An archive that cannot be written is tried again for a week: the history is on the server meanwhile."""


async def archive_segment(runs: Runs, *, closes: bool = True) -> bool:
    """Have this Temporal run's history archived, if the workers have an archive.

    Call it as the last thing before the run closes or continues as new. A workflow of its own then waits for the close
    and has the whole history written; only its start is awaited here, and a cancel in the meantime changes nothing.

    Args:
        runs: Of the workflow.
        closes: False for a run that may go on for long after this: what there is by then is written.

    Returns:
        Whether a cancel came in the meantime: whoever does not end now has to raise it.
    """
    if not runs.state.deployment.archives:
        return False
    info = workflow.info()
    roots = [frame for frame in runs.frames.all if frame.parent is None]
    arg = ArchiveSegment(
        workflow_id=info.workflow_id,
        run_id=info.run_id,
        closes=closes,
        query=runs.identity.query,
        frames=[frame.id for frame in roots],
    )
    own_id = CHILD_ID + info.run_id + ("" if closes else f"-{info.get_current_history_length()}")
    # A task of its own, as in `Work.end`: on cache eviction it cannot be created, which ends this here.
    starting = asyncio.create_task(_start(arg, own_id))
    cancelled = False
    while not starting.done():
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            cancelled = True
    starting.result()
    runs.marks.note_input()
    return cancelled


async def _start(arg: ArchiveSegment, child_id: str) -> None:
    try:
        await workflow.start_child_workflow(
            ARCHIVE,
            arg.to_wire(),
            id=child_id,
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
        )
    except WorkflowAlreadyStartedError:
        return  # it is being archived already


@workflow.defn(name=ARCHIVE, sandboxed=False)
class ArchiveRun:
    """Has one closed history written into the archive, however long that takes."""

    @workflow.run
    async def run(self, *args: object) -> JsonObject:
        """Write the history named by the argument.

        Raises:
            ApplicationError: ``StartInvalid`` for wrong arguments; ``ArchiveFailed`` where it could not be written in
                a week.
        """
        try:
            arg = ArchiveSegment.from_wire(args[0] if len(args) == 1 else None)
        except PayloadInvalidError as error:
            raise ApplicationError(str(error), type="StartInvalid", non_retryable=True) from None
        marks = TaskMarks()
        writing = start_activity(ARCHIVE, arg.to_wire(), arg.workflow_id[:200], WRITING, marks)
        match await await_activity(writing, marks):
            case Done(value) if isinstance(value, dict):
                return value
            case Failed(type=kind, message=message):
                problem = f"{message} ({kind})"
            case other:
                problem = type(other).__name__
        raise ApplicationError(
            f"the history of {arg.workflow_id} could not be archived: {problem}",
            type="ArchiveFailed",
            non_retryable=True,
        )
