"""The desk's tools: readings are real, deletions are real and stay inside the workspace."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from activities.run_cleanup import run_cleanup
from activities.run_diagnostic import CHECKS, UnknownCheckError, run_diagnostic
from activities.workspace import JOURNAL, TargetRefusedError, Workspace
from holdfast import ToolContext


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with one target of three files, one of them in a subfolder."""
    target = tmp_path / "workspace" / "temp_files"
    (target / "deep").mkdir(parents=True)
    for name in ("a", "b", "deep/c"):
        (target / name).write_bytes(b"x" * 100)
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def ctx(workspace: Workspace) -> ToolContext:
    """What a tool is told about its call."""
    return ToolContext(
        context=None,
        run_id="ticket-1",
        agent="it_support",
        agent_path=("it_support",),
        turn=1,
        labels={},
        requested_by=None,
        tool="run_cleanup",
        call_id="call_1",
        arguments={},
        resources=workspace,
        idempotency_key="key_1",
        attempt=1,
    )


def test_memory_and_load_are_this_machines(ctx: ToolContext) -> None:
    """Memory and load are what psutil reads here, not examples."""
    assert run_diagnostic(ctx, "memory")["total_bytes"] == psutil.virtual_memory().total
    assert run_diagnostic(ctx, "load")["cpu_count"] == psutil.cpu_count()


def test_disk_shows_what_the_targets_hold(ctx: ToolContext, workspace: Workspace) -> None:
    """The disk check counts the files of each target, so that a follow-up can see whether a cleanup helped."""
    assert run_diagnostic(ctx, "disk")["targets"] == {"temp_files": {"files": 3, "bytes": 300}}
    run_cleanup(ctx, "temp_files")
    assert run_diagnostic(ctx, "disk")["targets"] == {"temp_files": {"files": 0, "bytes": 0}}


def test_thermal_without_sensors_says_so(ctx: ToolContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without temperature sensors gets no temperature, but the sentence that none was read."""
    monkeypatch.setattr(psutil, "sensors_temperatures", dict, raising=False)
    reading = run_diagnostic(ctx, "thermal")
    assert reading["sensors"] is False
    assert "no temperature was read" in str(reading["note"])
    assert "celsius" not in reading


def test_thermal_reports_each_sensor(ctx: ToolContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are sensors, each one's reading is passed on as it is."""
    sensor = type("Sensor", (), {"label": "Package", "current": 41.5})
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: {"coretemp": [sensor]}, raising=False)
    assert run_diagnostic(ctx, "thermal")["celsius"] == {"coretemp Package": 41.5}


def test_an_unknown_check_names_those_that_exist(ctx: ToolContext) -> None:
    """A model that guesses a check learns which there are."""
    with pytest.raises(UnknownCheckError, match="there is no check 'gpu'; there are " + ", ".join(CHECKS)):
        run_diagnostic(ctx, "gpu")


def test_cleanup_deletes_and_writes_one_line(ctx: ToolContext, workspace: Workspace) -> None:
    """A cleanup deletes every file of its target, keeps the folder, and leaves one line that names the call."""
    done = run_cleanup(ctx, "temp_files")
    assert done == {"target": "temp_files", "deleted_files": 3, "freed_bytes": 300}
    assert list((workspace.root / "temp_files").iterdir()) == []
    [line] = (workspace.root / JOURNAL).read_text().splitlines()
    written = json.loads(line)
    assert (written["target"], written["files"], written["call"], written["key"]) == (
        "temp_files",
        3,
        "call_1",
        "key_1",
    )


@pytest.mark.parametrize(
    "target",
    ["", ".", "..", "../outside", "/etc", "temp_files/deep", "temp_files/../..", "a\\b", "a\0b", "link", "file", "no"],
)
def test_cleanup_refuses_what_is_no_target(ctx: ToolContext, workspace: Workspace, target: str) -> None:
    """Paths, links, files and unknown names are refused with the list of targets, and nothing is deleted."""
    outside = workspace.root.parent / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    (workspace.root / "link").symlink_to(outside)
    (workspace.root / "file").write_text("keep")
    with pytest.raises(TargetRefusedError, match="targets: temp_files"):
        run_cleanup(ctx, target)
    assert (outside / "precious").read_text() == "keep"
    assert workspace.size_of("temp_files").files == 3
    assert not (workspace.root / JOURNAL).exists()


def test_cleanup_deletes_a_link_and_not_what_it_points_to(ctx: ToolContext, workspace: Workspace) -> None:
    """Links inside a target go; the files and folders outside that they point to stay."""
    outside = workspace.root.parent / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    (workspace.root / "temp_files" / "to_folder").symlink_to(outside)
    (workspace.root / "temp_files" / "to_file").symlink_to(outside / "precious")
    assert run_cleanup(ctx, "temp_files")["deleted_files"] == 5
    assert (outside / "precious").read_text() == "keep"
