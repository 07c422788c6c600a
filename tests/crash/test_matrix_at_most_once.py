"""The crash matrix of a call that must not be repeated."""

from __future__ import annotations

from typing import Final

from handfast.workflows.loop.verdicts import OUTCOME_UNKNOWN
from support.crash.cases import AT_MOST_ONCE
from support.crash.grpc_proxy import Point
from support.crash.matrix import Matrix
from support.crash.matrix_checks import held_at_every_point

IN_DOUBT: Final = {
    Point("RecordActivityTaskHeartbeat", "handfast.tool.charge 1", "after"): 0,
    Point("RespondActivityTaskCompleted", "handfast.tool.charge 1", "before"): 1,
}
"""Between the server's word that the call began and its outcome: where it is not known, and the effects at each."""


async def test_an_at_most_once_call_is_never_repeated_and_doubt_is_asked_about(matrix: Matrix) -> None:
    """XA2: killed before or after any message that matters, an approved call began at most once; where it is not known
    whether it ran a person is asked, which is so between its begin and its recorded outcome and nowhere else."""
    _, trials = await held_at_every_point(matrix, AT_MOST_ONCE)
    assert {trial.point for trial in trials if trial.doubts} == set(IN_DOUBT)
    for trial in trials:
        assert trial.point is not None
        assert trial.effects["charge"] == IN_DOUBT.get(trial.point, 1)
        assert trial.outputs == {"charge": OUTCOME_UNKNOWN if trial.doubts else "charged"}
        assert trial.told == 0
