"""What can be counted afterwards: files that are there or gone, lines of the journal, activities in the history."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory

from activities.workspace import JOURNAL, Workspace

FILES: Final = {"temp_files": 12, "winsxs_cache": 8}
"""How many files the demo puts into each target."""
FILE_BYTES: Final = 2048
TOOL: Final = "holdfast.tool."


@dataclass(frozen=True)
class Evidence:
    """What the workspace shows about one call.

    Attributes:
        journal_lines: Lines of the journal that name this call.
        files_left: Files that are still in its target.
    """

    journal_lines: int
    files_left: int

    @property
    def took_effect(self) -> bool:
        """The journal is written after the files are gone: no line and an empty folder still mean that they are."""
        return self.journal_lines > 0 or self.files_left == 0

    def __str__(self) -> str:
        """Say both."""
        return f"the journal has {self.journal_lines} line(s) of this call, {self.files_left} files are left"


def prepare(root: Path) -> Workspace:
    """Make a workspace with real files to delete."""
    for target, count in FILES.items():
        folder = root / target
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{target}-{number:02}.dat").write_bytes(bytes(FILE_BYTES))
    return Workspace(root)


def look(workspace: Workspace, target: str, call_id: str | None) -> Evidence:
    """Look at what one call left behind."""
    lines = [line for line in journal(workspace) if line["target"] == target and line["call"] == call_id]
    return Evidence(len(lines), files_in(workspace, target))


def files_in(workspace: Workspace, target: str) -> int:
    """Count the files in a target, with no help of the tool that deletes them."""
    return sum(path.is_file() for path in (workspace.root / target).rglob("*"))


def effects(workspace: Workspace) -> Counter[str]:
    """How often a cleanup took effect, by target."""
    return Counter(str(line["target"]) for line in journal(workspace))


def journal(workspace: Workspace) -> list[dict[str, Any]]:
    """The lines of the journal."""
    file = workspace.root / JOURNAL
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def completed_tools(history: WorkflowHistory) -> Counter[str]:
    """How often each tool's activity completed, by the tool's name: read from the run's Temporal history."""
    names = {
        event.event_id: event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    }
    done = (
        names[event.activity_task_completed_event_attributes.scheduled_event_id]
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
    )
    return Counter(name.removeprefix(TOOL) for name in done if name.startswith(TOOL))
