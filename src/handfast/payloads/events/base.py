"""Fields that events of a run, of an agent's loop, of a call and of a request share."""

from __future__ import annotations

from typing import Literal

from handfast.payloads.base import Instant, Payload
from handfast.payloads.requests import RequestKind
from handfast.payloads.signature import SignedBy

LoopEnded = Literal["completed", "failed", "cancelled", "ended"]
"""*ended*: the history does not show how."""


class Event(Payload):
    """One thing that happened, as the server recorded it."""

    offset: str
    at: Instant


class InFrame(Event):
    """An event in an agent's loop."""

    frame: str
    agent: str
    agent_path: list[str] = []
    turn: int = 0


class OfCall(InFrame):
    """An event of one call of a reply."""

    call_id: str
    tool: str


class OfRequest(Event):
    """An event of one request. Its details are missing where the memo never showed the request.

    `by` is a claimed name, unless `signed_by` says which key vouches for it.
    """

    request: str | None = None
    kind: RequestKind | None = None
    frame: str | None = None
    agent: str | None = None
    agent_path: list[str] | None = None
    turn: int | None = None
    call_id: str | None = None
    tool: str | None = None
    by: str | None = None
    signed_by: SignedBy | None = None
    verdict: str | None = None
    why: str | None = None
