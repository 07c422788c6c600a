"""What a remembered decision is about."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from handfast import Approve
from handfast.workflows.ledger.standing_decisions import StandingDecision, StandingDecisions

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("approvers", "count"),
    [
        pytest.param(["group:ops", "user:BOB", "ann "], 1, id="the-same-people"),
        pytest.param(["Ann", "bob", "group:ops"], 1, id="spelled-alike"),
        pytest.param(["Ann", "bob", "group:OPS"], 2, id="another-group"),
        pytest.param(["Ann", "bob"], 2, id="fewer"),
    ],
)
def test_a_later_decision_replaces_one_for_the_same_people(approvers: list[str], count: int) -> None:
    """However the approvers are spelled; groups are names of systems, and told apart to the letter."""
    known = [kept(["Ann", "bob", "group:ops"])]
    StandingDecisions(known).add(kept(approvers), NOW)
    assert len(known) == count


def kept(approvers: list[str]) -> StandingDecision:
    """A decision for all calls of a tool."""
    return StandingDecision(
        root="0",
        tool="wipe",
        agent=None,
        of="tool",
        arguments=None,
        patterns=None,
        verdict=Approve(),
        by="ann",
        at=NOW,
        request="r1",
        approvers=approvers,
        exclude_requester=False,
    )
