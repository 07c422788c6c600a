"""Times as the command line shows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from handfast.cli.tables import ago, until

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("left", "shown"),
    [
        (timedelta(hours=4) - timedelta(milliseconds=1), "in 4 h"),
        (timedelta(hours=4), "in 4 h"),
        (timedelta(hours=3, minutes=40), "in 3 h 40 min"),
        (timedelta(hours=3, minutes=59, seconds=45), "in 4 h"),
        (timedelta(days=2) - timedelta(seconds=2), "in 2 d"),
        (timedelta(days=1, hours=3, minutes=10), "in 1 d 3 h"),
        (timedelta(minutes=2), "in 2 min"),
        (timedelta(seconds=59.7), "in 1 min"),
        (timedelta(seconds=90), "in 1 min 30 s"),
        (timedelta(seconds=12.4), "in 12 s"),
        (timedelta(milliseconds=200), "in 1 s"),
        (timedelta(0), "passed"),
        (timedelta(seconds=-5), "passed"),
    ],
)
def test_a_deadline_is_as_far_away_as_it_is(left: timedelta, shown: str) -> None:
    """A request that was just opened with four hours to go is due in 4 h, and not in 3 h."""
    assert until(NOW + left, NOW) == shown


@pytest.mark.parametrize(
    ("past", "shown"),
    [
        (timedelta(seconds=3), "3 s ago"),
        (timedelta(minutes=59, seconds=59), "59 min ago"),
        (timedelta(hours=5, minutes=10), "5 h ago"),
        (timedelta(days=3), "3 d ago"),
        (timedelta(seconds=-1), "0 s ago"),
    ],
)
def test_what_was_is_told_in_one_unit(past: timedelta, shown: str) -> None:
    """Nothing that is over is told as longer ago than it was."""
    assert ago(NOW - past, NOW) == shown
