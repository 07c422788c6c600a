"""The worker dies between a decision and the call that it releases."""

from __future__ import annotations

import pytest

from support.crash.cases import EDITED, SIGNALLED
from support.crash.grpc_proxy import Point
from support.crash.matrix import Case, Matrix
from support.crash.matrix_checks import faultless


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in (SIGNALLED, EDITED)])
@pytest.mark.quick
async def test_a_decision_that_was_taken_is_carried_out_after_a_crash(matrix: Matrix, case: Case) -> None:
    """XA7: killed between a decision's acceptance and the start of its call, a run carries it out when a worker is
    back: where it waits as a signal, and where edited arguments were being checked. One decision, one effect."""
    reference = await matrix.trial(case)
    decided = Point("PollWorkflowTaskQueue", "approve 1" if case.by == "signal" else "decide 1", "after")
    since = reference.points[reference.points.index(decided) :]
    points = [each for each in since if "WorkflowTask" in each.method]
    trials = await matrix.trials(case, [(point, None) for point in points])
    faultless(matrix, case, reference, trials)
    assert all(trial.effects["charge"] == 1 for trial in trials if not trial.doubts)
    assert sum(trial.doubts for trial in trials) == 0
