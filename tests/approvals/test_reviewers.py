"""A reviewer judges a request before a person has to: what it may do, and what it leaves to people."""

from __future__ import annotations

import pytest

from handfast import Approval, Opinion, ReviewInput, RunContext
from handfast.payloads.events import RequestReviewed
from support.evidence import failed_tasks, logged
from support.labs import Effects, MakeLab
from support.waits import DONE, WIPE, wiper


def judge(ctx: RunContext, review: ReviewInput) -> Opinion:
    """Approve temporary files."""
    return Opinion("approve", "only temporary files", 0.95)


@pytest.mark.quick
async def test_a_reviewer_approves_before_a_person_does(make_lab: MakeLab, effects: Effects) -> None:
    """A reviewer's approval lets the call run, is recorded under its name with its reason, and stands in the events."""
    lab = await make_lab([wiper(effects, Approval(review=judge))], script=[WIPE, DONE], max_cached_workflows=0)
    run = await lab.start("desk", "clean up")
    assert (await run.result()).output == "done"
    assert effects == ["wipe t"]
    [decided] = await logged(lab, run, "decided", 1)
    assert (decided.verdict, decided.by, decided.why) == ("approve", "reviewer:judge", "only temporary files")
    [reviewed] = [event async for event in run.events() if isinstance(event, RequestReviewed)]
    assert (reviewed.by, reviewed.verdict, reviewed.confidence, reviewed.left) == (
        "reviewer:judge",
        "approve",
        0.95,
        None,
    )
    assert [(each.role, each.text) for each in reviewed.messages] == [("user", "clean up")]
    assert await failed_tasks(lab, run) == 0
