"""A ledger, and decisions for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from handfast.payloads.requests import Decision, Request, Verdict
from handfast.workflows.ledger.ledger import Ledger
from support.requests import BOUND

NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)


LATER: Final = NOW + timedelta(hours=1)


def request(request_id: str = "r1", **changes: Any) -> Request:
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


def decision(verdict: Verdict, by: str = "lead", request_id: str = "r1", **fields: Any) -> Decision:
    """A decision on a request."""
    return Decision(id=request_id, verdict=verdict, decided_by=by, **fields)


def book(*requests: Request) -> Ledger:
    """A ledger with open requests."""
    ledger = Ledger()
    for each in requests or (request(),):
        ledger.book.open(each)
    return ledger


def take(ledger: Ledger, made: Decision, now: datetime = NOW) -> Any:
    """Check and record, as the handlers do."""
    ledger.check(made, now)
    return ledger.record(made, now)
