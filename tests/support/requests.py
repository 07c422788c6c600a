"""A request as the ledger holds it."""

from __future__ import annotations

from datetime import UTC, datetime

from handfast.payloads.binding import Bound
from handfast.payloads.requests import Request

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BOUND = Bound(namespace="default", workflow="ticket-7", run="first")


def request(request_id: str) -> Request:
    """An open request about one tool."""
    return Request(
        id=request_id,
        kind="approval",
        agent="desk",
        agent_path=["desk"],
        tool="wipe",
        call_id=request_id,
        arguments={"target": request_id},
        digest="d",
        bound=BOUND,
        frame="0",
        turn=1,
        requested_at=NOW,
        verdicts=["approve", "reject"],
    )
