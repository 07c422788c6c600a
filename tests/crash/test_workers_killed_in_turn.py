"""Workers are killed one after the other while many runs go on."""

from __future__ import annotations

from crash.matrix import Matrix
from crash.storm import Storm, Weather

SEED = 13


async def test_xa13_thirty_runs_outlive_workers_that_are_killed_in_turn(matrix: Matrix) -> None:
    """XA13: of two workers one is killed every second, while thirty runs of five kinds begin: every run ends, and each
    approved call has one effect or is in doubt and was asked about; rejected ones have none."""
    after = await Storm(matrix, Weather(seed=SEED, seconds=10.0, runs=30)).pass_over()
    assert after.wrong == [], f"seed {SEED}"
    assert after.runs == 30
    assert after.kills >= 5
    assert after.effects == after.approved - after.without
    assert matrix.model.violations == []
