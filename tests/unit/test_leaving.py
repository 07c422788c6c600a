"""When a history is left for the sake of the workers' version, as a sequence of histories."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from temporalio.common import WorkerDeploymentVersion

from handfast.workflows.state.segment import Segment, SegmentState

LONG = 100
"""Events of a history after which it is left anyway."""
EARLY = 20
"""Events of one at which the server may have told of another version."""


def lengths(monkeypatch: pytest.MonkeyPatch, *versions: tuple[str, bool]) -> list[int]:
    """How long each history of a run became.

    Args:
        monkeypatch: Stands in for what the server tells.
        versions: Of each history's workers, and whether there is a newer one to go to.
    """
    found: list[int] = []
    state = SegmentState(segment_events=LONG)
    for build, newer in versions:
        info = SimpleNamespace(
            cron_schedule=None,
            is_target_worker_deployment_version_changed=lambda newer=newer: newer,
            is_continue_as_new_suggested=lambda: False,
            get_current_deployment_version=lambda build=build: WorkerDeploymentVersion("desk", build),
            get_current_history_length=lambda: found[-1],
        )
        monkeypatch.setattr("temporalio.workflow.info", lambda info=info: info)
        leaving = Segment(state, lambda: True)
        leaving.begin(lambda: True)
        found.append(EARLY)
        if not leaving.due:
            found[-1] = LONG
            assert leaving.due
        state = leaving.carried()
    return found


def test_a_run_that_gets_its_version_again_is_not_left_for_another_one_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A history whose workers are again of the version that the former one was to get away from becomes as long as it
    should be, and so does each that follows on it."""
    assert lengths(monkeypatch, *[("one", True)] * 5) == [EARLY, LONG, LONG, LONG, LONG]


def test_a_run_that_has_moved_on_may_come_back_and_move_on_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier history was left for does not keep a run where an operator has brought it back to."""
    moved = [("one", True), ("two", False), ("one", False), ("one", True), ("three", False)]
    assert lengths(monkeypatch, *moved) == [EARLY, LONG, LONG, EARLY, LONG]


def test_without_versions_a_history_is_left_for_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no newer version nothing is left early."""
    assert lengths(monkeypatch, ("one", False), ("one", False)) == [LONG, LONG]
