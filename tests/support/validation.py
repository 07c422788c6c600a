"""A request for validators."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from hypothesis import strategies as st

from handfast.payloads.base import Undecodable
from handfast.payloads.requests import Request
from support.requests import BOUND

NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)


IDS: Final = ("open", "due", "doubt", "checking", "approved", "withdrawn", "expired", "unknown")


def request(request_id: str, **changes: Any) -> Request:
    """A request as the workflow opens it."""
    fields: dict[str, Any] = {
        "id": request_id,
        "kind": "approval",
        "agent": "desk",
        "agent_path": ["desk"],
        "tool": "wipe",
        "arguments": {"target": "temp"},
        "digest": f"v1:{request_id}",
        "bound": BOUND,
        "frame": "0",
        "turn": 1,
        "requested_at": NOW,
        "verdicts": ["approve", "reject", "answer"],
    }
    return Request(**{**fields, **changes})


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(Undecodable("x"))


anything = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


kinds = ("approve", "reject", "answer", "ran", "run_again", "give_up", "grant", "levitate")


verdicts = st.fixed_dictionaries(
    {"kind": st.sampled_from(kinds)},
    optional={"arguments": anything, "reason": st.text(), "output": anything, "turns": st.integers()},
)


decisions = st.fixed_dictionaries(
    {"id": st.sampled_from(IDS), "verdict": verdicts},
    optional={
        "decided_by": st.text(max_size=300),
        "digest": st.sampled_from([f"v1:{name}" for name in IDS]),
        "decision_id": st.sampled_from(["d1", "d2", "d3", ""]),
        "note": st.text(),
        "remember": anything,
    },
)


arguments = st.one_of(decisions.map(lambda one: [one]), anything.map(lambda one: [one]), st.lists(anything))
