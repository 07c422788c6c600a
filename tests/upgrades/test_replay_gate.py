"""XG2: the gate that every change of our workflows has to pass catches what would break runs in flight."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory

from handfast.testing import replay
from handfast.workflows.driver.driver import Driver
from handfast.workflows.state.publish import Publisher
from support.two_runs import TwoRuns

RECORDED = Path(__file__).parents[1] / "replay" / "histories" / "0.2.0"
WAITS = ("asking", "hosted", "nested", "running")
Plant = Callable[[pytest.MonkeyPatch], None]


async def gate() -> dict[str, Exception]:
    """What does not replay, as the tests of recorded histories ask it, of a few of them."""
    histories = [WorkflowHistory.from_json(each, (RECORDED / f"{each}.json").read_text()) for each in WAITS]
    return await replay(histories, workflows=[TwoRuns])


def insert(monkeypatch: pytest.MonkeyPatch, *, patched: bool = False) -> None:
    """An activity that was not there before; *patched*: for runs that begin now."""
    drive = Driver.drive

    async def changed(self: Driver) -> None:
        if not patched or workflow.patched("planted"):
            workflow.start_activity("handfast.evaluate", {}, start_to_close_timeout=timedelta(seconds=30))
        await drive(self)

    monkeypatch.setattr(Driver, "drive", changed)


def rename(monkeypatch: pytest.MonkeyPatch) -> None:
    """Activities are of another name."""
    start = workflow.start_activity

    def changed(name: str, **options: Any) -> Any:
        return start(f"{name}_anew", **options)

    monkeypatch.setattr(workflow, "start_activity", changed)


def reorder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search attributes first, then the memo."""
    publish, upsert = Publisher.publish, workflow.upsert_memo

    def changed(self: Publisher, *args: Any) -> None:
        later: list[Any] = []
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(workflow, "upsert_memo", later.append)
            publish(self, *args)
        for memo in later:
            upsert(memo)

    monkeypatch.setattr(Publisher, "publish", changed)


async def test_as_it_stands_it_replays() -> None:
    """XG2: without any change the histories replay: what fails below, fails by what was planted."""
    assert await gate() == {}


@pytest.mark.parametrize("plant", [insert, rename, reorder])
async def test_a_planted_change_is_caught(monkeypatch: pytest.MonkeyPatch, plant: Plant) -> None:
    """XG2: an activity that is inserted, one that is renamed, and two commands whose order changes: none of them passes
    the gate."""
    plant(monkeypatch)
    failures = await gate()
    assert failures
    assert all("ondeterminism" in str(failure) for failure in failures.values())


async def test_the_same_change_behind_a_patch_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """XG2: the inserted activity passes where `workflow.patched` keeps it from runs that began without it."""
    insert(monkeypatch, patched=True)
    assert await gate() == {}
