"""What every case of the crash matrix is held to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from support.crash.matrix import Case, Matrix, Trial, wrongs
from support.crash.matrix_page import VARIABLE, keep

LEAST: Final = 10
"""So many points each of the runs has, and more: what names them must not come to name nothing."""


async def held_at_every_point(matrix: Matrix, case: Case, every: int = 1) -> tuple[Trial, Sequence[Trial]]:
    """Do the case without a fault and with a kill at every point; check what holds for all of them, and keep it.

    Args:
        matrix: Where it is done.
        case: What is done.
        every: Among the tests, take so many points' first one; `make crash-matrix` takes all of them.

    Returns:
        The run without a fault, and the others.
    """
    reference, trials = await matrix.at_every_point(case, 1 if os.environ.get(VARIABLE) else every)
    keep(case, trials)
    faultless(matrix, case, reference, trials)
    return reference, trials


def faultless(matrix: Matrix, case: Case, reference: Trial, trials: Sequence[Trial]) -> None:
    """Hold runs whose worker was killed to the base rule, to the time within which they go on, and to the reference."""
    assert len(trials) >= LEAST, f"only {len(trials)} points"
    broken = [line for trial in (reference, *trials) for line in wrongs(trial, case)]
    broken += [f"{trial.point}: was never reached" for trial in trials if not trial.reached]
    broken += [f"{trial.point}: nothing happened for {trial.pause_s:.1f} s" for trial in trials if not trial.in_time]
    broken += [
        f"{trial.point}: {trial.replies} replies, {trial.requests} requests; {reference.replies} without a kill"
        for trial in trials
        if trial.replies != reference.replies or not 0 <= trial.requests - trial.replies <= trial.most_lost_replies
    ]
    assert broken == [], "\n".join(broken)
    assert matrix.model.violations == []
