"""The tool `run_cleanup`: deletes files for good, so a person is asked first; a reviewer rejects the worst."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, TypedDict

from pydantic import Field

from activities.caretaker import caretaker
from activities.pause import pause
from activities.workspace import Workspace
from handfast import Approval, ToolContext, tool


class Cleanup(TypedDict):
    """What one cleanup did."""

    target: str
    deleted_files: int
    freed_bytes: int


@tool(
    effect="at_most_once",
    approval=Approval(
        deadline=timedelta(hours=4),
        on_deadline="reject",
        reason="It deletes files for good.",
        review=caretaker,
        review_may=["reject"],
    ),
)
def run_cleanup(
    ctx: ToolContext,
    target: str,
    older_than_days: Annotated[int, Field(ge=0, le=36500)] = 0,
) -> Cleanup:
    """Delete the files in one cleanup target. This cannot be undone.

    Args:
        target: Name of the target, e.g. "temp_files".
        older_than_days: Spare the files that were changed within so many days; 0 spares none.
    """
    workspace: Workspace = ctx.resources
    pause("before")
    removed = workspace.empty(target, timedelta(days=older_than_days))
    workspace.record(
        tool=ctx.tool,
        target=target,
        files=removed.files,
        bytes=removed.bytes,
        run=ctx.run_id,
        call=ctx.call_id,
        key=ctx.idempotency_key,
    )
    pause("after")
    return {"target": target, "deleted_files": removed.files, "freed_bytes": removed.bytes}
