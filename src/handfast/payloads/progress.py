"""Progress of a running tool: in its heartbeats beside the mark, never in the history."""

from __future__ import annotations

from handfast.payloads.base import Instant, Payload

PROGRESS_BYTES = 1000
"""Most bytes of a progress text, in UTF-8."""


class ToolProgress(Payload):
    """The newest progress of one call that runs.

    Attributes:
        done: How much of `total`, in a unit of the tool's.
        at: When the tool said so, by its worker's clock.
    """

    tool: str
    call_id: str
    text: str
    done: float | None = None
    total: float | None = None
    at: Instant
