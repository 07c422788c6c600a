"""The crash matrix of a call that a reviewer judges, in each of the reviewer's endings."""

from __future__ import annotations

import asyncio
import os
from typing import Final

from handfast.workflows.loop.verdicts import OUTCOME_UNKNOWN
from support.crash.cases import REVIEWED
from support.crash.grpc_proxy import Double, Drop, Fault, Point
from support.crash.matrix import Case, Matrix, Trial, wrongs
from support.crash.matrix_page import VARIABLE, keep

REVIEW: Final = "handfast.review 1"
LEFT: Final = {"leaves": ["low_confidence"], "raises": ["failed"], "hangs": ["failed"], "is late": []}
"""What the event of the review says, where a person decides."""


def around(case: Case, reference: Trial) -> list[Point]:
    """The points of a run that are about its review: all of them, where that is measured."""
    everything = bool(os.environ.get(VARIABLE)) and case.review == "approves"
    about = {REVIEW, "decide 1"} if case.review == "is late" else {REVIEW}
    return [
        point
        for point in reference.points
        if everything
        or (
            point.about in about
            # A review that was cancelled ends when its worker hears of that: before the run does, or not.
            and not (case.review == "is late" and point.about == REVIEW and point.method != "PollActivityTaskQueue")
        )
    ]


async def held(matrix: Matrix, case: Case) -> tuple[Trial, list[Trial]]:
    """Do a case without a fault, and with a kill at each point of its review."""
    reference = await matrix.trial(case)
    trials = await matrix.trials(case, [(point, None) for point in around(case, reference)])
    if case.review == "approves":
        keep(case, trials)
    return reference, trials


async def test_a_review_ends_as_it_would_have_wherever_its_worker_is_killed(matrix: Matrix) -> None:
    """XA2: killed before or after any message of its review, a call that a reviewer approves, rejects, leaves to
    people, raises or hangs over, or is too late for, is decided once, by who would have decided it; approved it begins
    at most once, rejected never, and the reviewer is asked twice at most."""
    broken: list[str] = []
    for case, (reference, trials) in zip(
        REVIEWED, await asyncio.gather(*(held(matrix, case) for case in REVIEWED)), strict=True
    ):
        assert case.review is not None
        assert len(trials) >= 3, f"{case.name}: only {len(trials)} points"
        by = "lead" if case.review in LEFT else "reviewer:judge"
        for trial in (reference, *trials):
            broken += [f"{case.name}: {each}" for each in wrongs(trial, case)]
            read = OUTCOME_UNKNOWN if trial.doubts else "settled" if case.approve else "no"
            facts = {
                "decided by": (dict(trial.deciders), {by: 1}),
                "reviewed": (list(trial.reviews), LEFT.get(case.review, [None])),
                "the model read": (trial.outputs, {"settle": read}),
            }
            broken += [
                f"{case.name}, {trial.point}: {what} {found}" for what, (found, so) in facts.items() if found != so
            ]
            if not 1 <= trial.bodies["judge"] <= 2:
                broken.append(f"{case.name}, {trial.point}: the reviewer was asked {trial.bodies['judge']} times")
        broken += [f"{case.name}, {trial.point}: was never reached" for trial in trials if not trial.reached]
        broken += [f"{case.name}, {each.point}: {each.pause_s:.1f} s" for each in trials if not each.in_time]
    assert broken == [], "\n".join(broken)
    assert matrix.model.violations == []


async def test_a_lost_or_doubled_answer_of_a_reviewer_decides_once(matrix: Matrix) -> None:
    """XA17: what a reviewer says is lost on its way, sent twice, or brought twice: the call is decided once, by the
    reviewer, and has one effect."""
    case = REVIEWED[0]
    faults: list[tuple[Point, Fault | None]] = [
        (Point("RespondActivityTaskCompleted", REVIEW, "before"), Drop()),
        (Point("RespondActivityTaskCompleted", REVIEW, "after"), Drop()),
        (Point("RespondActivityTaskCompleted", REVIEW, "before"), Double()),
        (Point("RespondActivityTaskCompleted", REVIEW, "after"), Double()),
        (Point("PollWorkflowTaskQueue", REVIEW, "after"), Drop()),
        (Point("RespondWorkflowTaskCompleted", REVIEW, "before"), Double()),
    ]
    trials = await matrix.trials(case, faults)
    assert [line for trial in trials for line in wrongs(trial, case)] == []
    assert [trial.point for trial in trials if not trial.reached] == []
    for trial in trials:
        assert (dict(trial.deciders), list(trial.reviews)) == ({"reviewer:judge": 1}, [None]), trial.point
        assert (trial.effects["settle"], trial.doubts) == (1, 0), trial.point
