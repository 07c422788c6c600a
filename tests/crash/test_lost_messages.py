"""Messages between a worker and the server are lost, doubled or held up; nobody dies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from handfast.workflows.loop.verdicts import OUTCOME_UNKNOWN
from support.crash.cases import AT_MOST_ONCE, IDEMPOTENT
from support.crash.grpc_proxy import POLLS, Delay, Double, Drop, Fault, Point
from support.crash.matrix import Case, Matrix, wrongs
from support.crash.steps import RunStep
from support.crash.till_runs import LONG_S

MESSAGES = [
    RunStep("RespondWorkflowTaskCompleted", "decide 1"),  # which starts the approved call
    RunStep("RecordActivityTaskHeartbeat", "handfast.tool.{tool} 1"),
    RunStep("RespondActivityTaskCompleted", "handfast.tool.{tool} 1"),
    RunStep("PollWorkflowTaskQueue", "handfast.tool.{tool} 1"),  # which brings what became of it
    RunStep("RespondWorkflowTaskCompleted", "handfast.tool.{tool} 1"),
]


def faults(tool: str) -> Iterator[tuple[Point, Fault]]:
    """Each fault at each of the messages; a poll is not doubled, as its second one would take another task."""
    for method, named in MESSAGES:
        about = named.format(tool=tool)
        yield Point(method, about, "after"), Drop()
        yield Point(method, about, "after"), Delay(LONG_S)
        if method not in POLLS:
            yield Point(method, about, "before"), Drop()
            yield Point(method, about, "before"), Delay(LONG_S)
            yield Point(method, about, "before"), Double()
            yield Point(method, about, "after"), Double()


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in (IDEMPOTENT, AT_MOST_ONCE)])
async def test_a_lost_or_doubled_message_never_loses_or_doubles_an_effect(matrix: Matrix, case: Case) -> None:
    """XA17: requests and replies lost, sent twice, or held up for longer than any timeout: an approved call has one
    effect, or is in doubt and a person is asked; it is never reported as done without one, and never done twice."""
    [tool] = case.calls
    trials = await matrix.trials(case, faults(tool))
    assert [line for trial in trials for line in wrongs(trial, case)] == []
    assert [trial.point for trial in trials if not trial.reached] == []
    done = {"sync": "synced", "charge": "charged"}[tool]
    for trial in trials:
        assert trial.outputs == {tool: OUTCOME_UNKNOWN if trial.doubts else done}, trial.point
        assert trial.effects[tool] == 1 or trial.doubts == 1, trial.point
    assert matrix.model.violations == []
