"""Workers are killed one after the other while many runs go on."""

from __future__ import annotations

from support.crash.matrix import Matrix
from support.crash.storm import Storm, Weather

SEED = 13


async def test_thirty_runs_outlive_workers_that_are_killed_in_turn(matrix: Matrix) -> None:
    """XA13: of two workers one is killed every second, while thirty runs of five kinds begin: every run ends, and each
    approved call has one effect or is in doubt and was asked about; rejected ones have none."""
    after = await Storm(matrix, Weather(seed=SEED, seconds=10.0, runs=30)).pass_over()
    assert after.wrong == [], f"seed {SEED}"
    assert after.runs == 30
    assert after.kills >= 5
    assert after.effects == after.approved - after.without
    assert matrix.model.violations == []


async def test_a_storm_of_all_faults_leaves_every_promise_standing(matrix: Matrix) -> None:
    """XM5: while workers are killed and one in twenty messages is lost, doubled or held up, every run ends with one
    effect for each approval, or a person was asked; `make soak` does the same for as long as one likes."""
    after = await Storm(matrix, Weather(seed=SEED, seconds=6.0, kill_every_s=2.0, lost=0.05, runs=15)).pass_over()
    assert after.wrong == [], f"seed {SEED}"
    assert (after.runs, after.effects) == (15, after.approved - after.without)
    assert after.kills >= 2
    assert after.faults.total() > 0
    assert matrix.model.violations == []
