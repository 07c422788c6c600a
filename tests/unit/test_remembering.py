"""What a remembered decision is about."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from handfast import Approve
from handfast.workflows.ledger import standing_decisions
from handfast.workflows.ledger.standing_decisions import Remembered


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
    assert len(standing_decisions.added(known, kept(approvers))) == count


def kept(approvers: list[str]) -> Remembered:
    """A decision for all calls of a tool."""
    return Remembered(
        root="0",
        tool="wipe",
        agent=None,
        of="tool",
        arguments=None,
        patterns=None,
        verdict=Approve(),
        by="ann",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        request="r1",
        approvers=approvers,
        exclude_requester=False,
    )
