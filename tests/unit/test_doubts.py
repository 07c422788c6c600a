"""What is known of an attempt in doubt: read from any heartbeat, and worded for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from handfast.cli.show import facts_of
from handfast.payloads.requests import Request
from handfast.payloads.tool_call import Attempt
from support.requests import BOUND

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)


def doubt(facts: dict[str, Any]) -> Request:
    """A request about a call in doubt."""
    return Request(
        id="r1",
        kind="in_doubt",
        agent="desk",
        agent_path=["desk"],
        digest="d",
        bound=BOUND,
        frame="0",
        turn=1,
        requested_at=NOW,
        verdicts=[],
        facts=facts,
    )


def test_what_is_known_of_an_attempt_is_worded() -> None:
    """Who looks at a call in doubt reads how it ended, where it ran, and when it was last heard of."""
    facts = {
        "ended": "TimeoutHeartbeat",
        "detail": "it timed out",
        "worker": "7@host",
        "attempt": 1,
        "started_at": "2026-03-04T09:20:00Z",
        "alive_at": "2026-03-04T09:29:00Z",
        "verify": "it raised",
    }
    assert list(facts_of(doubt(facts), NOW)) == [
        ("ended", "TimeoutHeartbeat: it timed out"),
        (
            "attempt",
            "number 1, on worker 7@host, started 2026-03-04 09:20:00 UTC (10 min ago), "
            "last known alive 2026-03-04 09:29:00 UTC (1 min ago)",
        ),
        ("known", '{"verify": "it raised"}'),
    ]


def test_facts_of_a_later_version_are_shown_as_they_are() -> None:
    """Facts that this version cannot read hide nothing else."""
    shown = dict(facts_of(doubt({"ended": "not_begun", "starts": 5, "attempt": "third"}), NOW))
    assert shown == {"ended": "not_begun", "known": '{"starts": 5}'}


@pytest.mark.parametrize(
    "details",
    [[], ["text"], [None], [{"begun": "yes"}], [{"begun": 1, "started_at": "yesterday"}], [[{"begun": 1}]]],
)
def test_a_strange_heartbeat_says_nothing(details: list[Any]) -> None:
    """Whatever a heartbeat holds, nothing is made up of it."""
    assert Attempt.among(details) is None


def test_an_early_mark_says_only_that_it_began() -> None:
    """The mark of an earlier version holds nothing for people."""
    attempt = Attempt.among([{"begun": 1}])
    assert attempt is not None
    assert attempt.facts() == {}
