"""Messages between a worker and the server are lost, doubled or held up; nobody dies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crash.cases import AT_MOST_ONCE, IDEMPOTENT
from crash.grpc_proxy import POLLS, Delay, Double, Drop, Fault, Point
from crash.matrix import Case, Matrix, wrongs
from holdfast.workflows.decided import OUTCOME_UNKNOWN

MESSAGES = [
    ("RespondWorkflowTaskCompleted", 3),  # which starts the approved call
    ("RecordActivityTaskHeartbeat", 1),
    ("RespondActivityTaskCompleted", 2),
    ("PollWorkflowTaskQueue", 5),  # which brings what became of it
    ("RespondWorkflowTaskCompleted", 4),
]
LONG_S = 6.0
"""Longer than a tool may stay silent, and than a step of the run may take."""


def faults() -> Iterator[tuple[Point, Fault]]:
    """Each fault at each of the messages; a poll is not doubled, as its second one would take another task."""
    for method, nth in MESSAGES:
        yield Point(method, nth, "after"), Drop()
        yield Point(method, nth, "after"), Delay(LONG_S)
        if method not in POLLS:
            yield Point(method, nth, "before"), Drop()
            yield Point(method, nth, "before"), Delay(LONG_S)
            yield Point(method, nth, "before"), Double()
            yield Point(method, nth, "after"), Double()


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in (IDEMPOTENT, AT_MOST_ONCE)])
async def test_xa17_a_lost_or_doubled_message_never_loses_or_doubles_an_effect(matrix: Matrix, case: Case) -> None:
    """XA17: requests and replies lost, sent twice, or held up for longer than any timeout: an approved call has one
    effect, or is in doubt and a person is asked; it is never reported as done without one, and never done twice."""
    [tool] = case.calls
    trials = await matrix.trials(case, faults())
    assert [line for trial in trials for line in wrongs(trial, case)] == []
    assert all(trial.reached for trial in trials)
    done = {"sync": "synced", "charge": "charged"}[tool]
    for trial in trials:
        assert trial.outputs == {tool: OUTCOME_UNKNOWN if trial.doubts else done}, trial.point
        assert trial.effects[tool] == 1 or trial.doubts == 1, trial.point
    assert matrix.model.violations == []
