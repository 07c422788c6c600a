"""Runs that waited under an earlier release go on under this one."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from holdfast import HoldfastPlugin
from replay.record import SCENES
from replay.two_runs import TwoRuns

RECORDED = sorted((Path(__file__).parent / "histories").glob("*/*.json"))
HISTORIES = [pytest.param(path.stem, path.read_text(), id=f"{path.parent.name}-{path.stem}") for path in RECORDED]


@pytest.mark.parametrize(("name", "history"), HISTORIES)
async def test_a_recorded_wait_replays_on_todays_code(name: str, history: str) -> None:
    """Each wait state of each release replays without a difference."""
    replayer = Replayer(workflows=[TwoRuns], plugins=[HoldfastPlugin()])
    await replayer.replay_workflow(WorkflowHistory.from_json(name, history))


def test_every_wait_state_is_recorded() -> None:
    """There is a recorded history for every scene that can be recorded."""
    assert {path.stem for path in RECORDED} >= set(SCENES)


def test_histories_do_not_say_where_they_were_recorded() -> None:
    """No path, host or process of the machine that recorded a history is in it."""
    for path in RECORDED:
        content = path.read_text()
        assert "site-packages" not in content
        assert '.py"' not in content
        assert 'stackTrace": "F' not in content
