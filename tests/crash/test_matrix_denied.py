"""The crash matrix of a call that a person rejected."""

from __future__ import annotations

from support.crash.cases import DENIED
from support.crash.matrix import Matrix
from support.crash.matrix_checks import held_at_every_point


async def test_a_rejected_call_never_runs_wherever_its_worker_is_killed(matrix: Matrix) -> None:
    """XA3: killed before or after any message that matters, a rejected call has no effect and its body never begins;
    the model reads the reason once."""
    _, trials = await held_at_every_point(matrix, DENIED)
    assert {tuple(trial.outputs.items()) for trial in trials} == {(("charge", "no"),)}
