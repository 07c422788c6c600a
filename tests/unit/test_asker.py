"""Who is asked at a terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from handfast.cli.asker import why_barred
from handfast.payloads.requests import Request, Vote
from support.requests import BOUND

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def request(**fields: Any) -> Request:
    """An open approval."""
    known: dict[str, Any] = {
        "id": "r",
        "kind": "approval",
        "agent": "desk",
        "agent_path": ["desk"],
        "digest": "d",
        "bound": BOUND,
    }
    return Request(**known, frame="0", turn=1, requested_at=NOW, verdicts=["approve", "reject"], **fields)


ANN_VOTED = [Vote(by="Ann", verdict="approve", at=NOW)]


@pytest.mark.parametrize(
    ("fields", "barred"),
    [
        ({}, None),
        ({"approvers": ["ann"]}, None),
        ({"approvers": ["user:ANN"]}, None),
        ({"approvers": ["bob"]}, "ann may not decide it; it waits for bob"),
        ({"approvers": ["bob", "group:finance"]}, None),
        ({"requested_by": "ann"}, None),
        (
            {"requested_by": "Ann", "exclude_requester": True},
            "ann asked for it or changed it, and may not decide; it waits for anybody else",
        ),
        (
            {"editors": ["ann"], "exclude_requester": True, "approvers": ["ann", "bob"]},
            "ann asked for it or changed it, and may not decide; it waits for ann, bob",
        ),
        ({"quorum": 2, "votes": ANN_VOTED}, "ann has voted; it waits for anybody (1 of 2)"),
        ({"quorum": 2, "votes": [Vote(by="bob", verdict="approve", at=NOW)]}, None),
    ],
)
def test_a_person_who_may_not_decide_is_told_who_may(fields: dict[str, Any], barred: str | None) -> None:
    """What the request says is enough for people by name; who is in a group the workers know."""
    assert why_barred(request(**fields), "ann") == barred
