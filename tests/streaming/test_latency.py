"""Scenario row H4: how soon an event is there."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from datetime import UTC, datetime

from handfast.testing import Reply, call
from support.desk import DONE, desk
from support.labs import Effects, MakeLab

TURNS = 12
MOST_MS = 500.0
"""What a busy machine may take; the embedded server has taken 3.5 ms with two cores under full load."""


async def test_events_arrive_at_once(
    make_lab: MakeLab, effects: Effects, record_property: Callable[[str, object], None]
) -> None:
    """H4: a reader has an event milliseconds after the server recorded it: by one clock, in the middle of the run."""
    script = [Reply(call("look", {"check": f"fan {turn}"})) for turn in range(TURNS)]
    lab = await make_lab([desk(effects)], script=[*script, DONE])
    run = await lab.start("desk")
    late_ms = []
    async for event in run.events():
        late_ms.append((datetime.now(UTC) - event.at).total_seconds() * 1000)
    median = statistics.median(late_ms)
    record_property("median_ms", median)
    assert len(late_ms) > 4 * TURNS
    assert median < MOST_MS, f"median {median:.1f} ms, max {max(late_ms):.0f} ms"
