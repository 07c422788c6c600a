"""Notifications of requests: argument and answer of the activity `handfast.notify`."""

from __future__ import annotations

from typing import Final, Literal

from handfast.payloads.base import Instant, Payload
from handfast.payloads.requests import Request

__all__ = ["Notification"]

NOTIFY: Final = "handfast.notify"

NotificationKind = Literal["opened", "reviewed", "reminded", "escalated", "decided", "edited", "expired", "withdrawn"]


class Notification(Payload):
    """Something that the application may tell people: a request opened, waits, or was closed.

    Attributes:
        id: The same whenever it is delivered again: what has been told already need not be told twice.
        what: *opened*; where a reviewer is asked first, `request.review` says so. *reviewed*: it left the request to
            people, and `request.review` says what it thinks. *reminded* and *escalated*: it still waits, and `due` is
            when this was to be. *decided*, *edited* (and asked anew, in another request), *expired*, *withdrawn*:
            nobody has to decide it any more.
        run: Workflow id, as `Handfast.run` takes it.
        request: As it stands then; long arguments by their start.
        labels: Of the run.
        approvers: Of *escalated*: who may decide from now on, beside those who could before.
        verdict: Of *decided*; of *expired*, its default; of *reviewed*, what the reviewer said.
        by: Who decided, or the reviewer.
    """

    id: str
    what: NotificationKind
    at: Instant
    run: str
    request: Request
    labels: dict[str, str] | None = None
    due: Instant | None = None
    approvers: list[str] | None = None
    verdict: str | None = None
    by: str | None = None


class Notify(Payload):
    """Input of the activity `handfast.notify`."""

    notifications: list[Notification]


class Notified(Payload):
    """Output of the activity `handfast.notify`.

    Attributes:
        failed: By id, why a notification could not be delivered; all others were.
    """

    failed: dict[str, str] | None = None
