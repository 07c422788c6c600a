"""The crash matrix of a run that goes on in a fresh history while a person thinks."""

from __future__ import annotations

from support.crash.cases import RENEWED
from support.crash.matrix import Matrix
from support.crash.matrix_checks import held_at_every_point


async def test_an_approval_survives_a_crash_on_the_way_into_a_fresh_history(matrix: Matrix) -> None:
    """XA15: killed at any message, those included by which a run leaves its history and begins the next one, the
    approval that waits keeps its id and is decided once, and the call has one effect."""
    _, trials = await held_at_every_point(matrix, RENEWED)
    looked = {f"look-{number}": "looked" for number in range(RENEWED.before)}
    assert all(trial.outputs == {**looked, "sync": "synced"} for trial in trials)
    assert all(trial.crossed_at is not None for trial in trials)
