"""The crash matrix of a call that may be repeated with its key."""

from __future__ import annotations

from support.crash.cases import IDEMPOTENT
from support.crash.matrix import Matrix
from support.crash.matrix_checks import held_at_every_point


async def test_an_idempotent_call_has_one_effect_wherever_its_worker_is_killed(matrix: Matrix) -> None:
    """XA1: killed before or after any message that matters, a run goes on within eight seconds and ends alike: one
    effect under one key, one decision, asked once, the model's replies recorded once, no task failed."""
    reference, trials = await held_at_every_point(matrix, IDEMPOTENT)
    assert {tuple(trial.outputs.items()) for trial in trials} == {tuple(reference.outputs.items())}
    assert max(trial.bodies["sync"] for trial in trials) == 2  # it was repeated, and that did no harm
