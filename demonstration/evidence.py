"""Evidence of effects: files that are there or gone, lines of journal and ledger, tools in the history."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory

from activities.books import LEDGER, ORDERS, Order
from activities.workspace import JOURNAL, Workspace

FILES: Final = {"temp_files": 12, "winsxs_cache": 8}
"""Number of files that the demo puts into each target."""
OLD_FILES: Final = 8
"""Number of files in a target that did not change for `OLD`."""
OLD: Final = timedelta(days=30)
FILE_BYTES: Final = 2048
CUSTOMER: Final = "c-17"
ORDER: Final = Order(order=4711, customer=CUSTOMER, item="an espresso machine", paid=180.0)
TOOL: Final = "handfast.tool."


@dataclass(frozen=True)
class Evidence:
    """Evidence in the workspace of one call.

    Attributes:
        lines: Lines that name this call: of the journal for a cleanup, of the ledger for a refund.
        file: Name of journal or ledger.
        files_left: Files that are still in its target; None for a refund.
    """

    lines: int
    file: str
    files_left: int | None

    @property
    def took_effect(self) -> bool:
        """Return True where the call took effect. The files go before the journal is written: gone files are enough."""
        return self.lines > 0 or self.files_left == 0

    def __str__(self) -> str:
        files = "" if self.files_left is None else f", {self.files_left} files are left"
        return f"{self.file} has {self.lines} line(s) of this call{files}"


@dataclass(frozen=True)
class ToolRun:
    """A completed execution of a tool.

    Attributes:
        path: Agents from the run's own down to the calling one.
    """

    tool: str
    path: tuple[str, ...]


def prepare(root: Path) -> Workspace:
    """Make a workspace with real files to delete, and an order to refund."""
    long_ago = time.time() - OLD.total_seconds()
    for target, count in FILES.items():
        folder = root / target
        folder.mkdir(parents=True)
        for number in range(count):
            file = folder / f"{target}-{number:02}.dat"
            file.write_bytes(bytes(FILE_BYTES))
            if number < OLD_FILES:
                os.utime(file, (long_ago, long_ago))
    orders = [ORDER, Order(order=4712, customer="c-18", item="a kettle", paid=35.0)]
    (root / ORDERS).write_text(json.dumps([order.model_dump() for order in orders]))
    return Workspace(root)


def look(workspace: Workspace, tool: str | None, call_id: str | None, target: str | None) -> Evidence:
    """Read the evidence of one call."""
    file = LEDGER if tool == "refund" else JOURNAL
    lines = [line for line in lines_of(workspace, file) if line["call"] == call_id]
    return Evidence(len(lines), file, None if target is None else files_in(workspace, target))


def files_in(workspace: Workspace, target: str) -> int:
    """Count the files in a target without the code of the tool that deletes them."""
    return sum(path.is_file() for path in (workspace.root / target).rglob("*"))


def lines_of(workspace: Workspace, name: str) -> list[dict[str, Any]]:
    """Read the lines of journal or ledger without the code that wrote them."""
    file = workspace.root / name
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def tool_runs(history: WorkflowHistory) -> Sequence[ToolRun]:
    """Return the completed tool activities of a Temporal history, in order of completion."""
    scheduled = {
        event.event_id: event.activity_task_scheduled_event_attributes
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    }
    done = [
        scheduled[event.activity_task_completed_event_attributes.scheduled_event_id]
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
    ]
    return [
        ToolRun(
            each.activity_type.name.removeprefix(TOOL),
            tuple(json.loads(each.input.payloads[0].data)["origin"]["agent_path"]),
        )
        for each in done
        if each.activity_type.name.startswith(TOOL)
    ]
