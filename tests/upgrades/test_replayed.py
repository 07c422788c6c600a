"""Fault row XG6: `make test-replayed` runs the tests with every run replayed at each of its tasks."""

from __future__ import annotations

from typing import Any

import pytest

from handfast.testing import Reply, call
from handfast.workflows.state.runs import Runs
from support.desk import DONE, desk
from support.labs import Effects, MakeLab


@pytest.mark.quick
async def test_without_a_cache_every_task_is_replayed_from_its_start(
    make_lab: MakeLab, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XG6: with the variable of `make test-replayed` a lab keeps no run in memory: each of its workflow tasks builds
    the run anew from its history, and it ends as ever."""
    built: list[str] = []
    original = Runs.__init__

    def counted(self: Runs, prefix: str, *args: Any) -> None:
        built.append(prefix)
        original(self, prefix, *args)

    monkeypatch.setattr(Runs, "__init__", counted)
    monkeypatch.setenv("HANDFAST_TEST_CACHE", "0")
    lab = await make_lab([desk(effects)], script=[Reply(call("wipe", {"target": "t"}, "c1")), DONE])
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).output == "done"
    assert effects == ["wipe t"]
    history = await lab.client.get_workflow_handle(run.id).fetch_history()
    tasks = sum(event.HasField("workflow_task_completed_event_attributes") for event in history.events)
    assert len(built) >= tasks >= 4
