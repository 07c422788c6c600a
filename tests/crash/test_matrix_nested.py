"""The crash matrix of an agent that is used as a tool."""

from __future__ import annotations

from support.crash.cases import NESTED
from support.crash.matrix import Matrix
from support.crash.matrix_checks import held_at_every_point


async def test_the_parent_sees_one_result_wherever_the_worker_is_killed(matrix: Matrix) -> None:
    """XA16: killed at any message while a nested agent works, waits or answers, its one call has one effect, and the
    agent above reads one result."""
    _, trials = await held_at_every_point(matrix, NESTED, every=3)
    assert {tuple(trial.outputs.items()) for trial in trials} == {(("nested", "done"),)}
