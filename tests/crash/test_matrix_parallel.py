"""The crash matrix of calls that run side by side."""

from __future__ import annotations

from support.crash.cases import PARALLEL
from support.crash.matrix import Matrix
from support.crash.matrix_checks import held_at_every_point


async def test_parallel_calls_have_one_effect_each_wherever_their_worker_is_killed(matrix: Matrix) -> None:
    """XA4: two gated calls and a free one of the same turn have one effect each, and three outputs, in their order,
    wherever the worker is killed."""
    _, trials = await held_at_every_point(matrix, PARALLEL, every=2)
    expected = {"sync": "synced", "seal": "sealed", "look": "looked"}
    assert all(list(trial.outputs.items()) == list(expected.items()) for trial in trials)
