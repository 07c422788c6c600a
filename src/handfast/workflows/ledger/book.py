"""The requests of one workflow: opened, due, held for a check, closed."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from handfast.payloads.requests import (
    NOBODY_ANSWERED,
    Approve,
    Decision,
    GiveUp,
    Reject,
    Request,
    Transition,
    Verdict,
)
from handfast.workflows.ledger import escalation
from handfast.workflows.ledger.entry import Entry
from handfast.workflows.ledger.log import RequestLog
from handfast.workflows.ledger.outcomes import content_of


class RequestBook:
    """Opens requests, and closes those that are due.

    Attributes:
        entries: Requests by id, in the order in which they opened.
        unpublished: Requests that the memo has to show anew; None where one is no longer open.
    """

    def __init__(self, entries: dict[str, Entry], log: RequestLog) -> None:
        """Work on *entries*, and log each step."""
        self.entries = entries
        self.unpublished: dict[str, Request | None] = {}
        self._log = log
        self._looked_up: list[Decision] = []
        self._held: dict[str, tuple[str | None, str]] = {}

    # --- reading ---

    def open_requests(self) -> list[Request]:
        """Return the requests that wait, in the order in which they opened."""
        return [entry.request for entry in self.entries.values() if entry.waits]

    def open_ids(self) -> list[str]:
        """The ids of the requests that wait."""
        return [each.id for each in self.open_requests()]

    def waits(self, request_id: str) -> bool:
        """Return whether a request is still to be decided."""
        return self.entries[request_id].waits

    def next_deadline(self, frame: str | None = None) -> datetime | None:
        """Return the nearest deadline of all open requests; of one frame's, the nearest that it has to wake for."""
        deadlines = [
            entry.request.deadline
            for entry in self.entries.values()
            if entry.state == "open"
            and entry.request.deadline is not None
            and (frame is None or (frame == entry.request.frame and not self._may_be_rejected(entry.request)))
        ]
        return min(deadlines, default=None)

    def next_step(self, frame: str) -> datetime | None:
        """Return the time of the next reminder or escalation of a frame's requests."""
        times = [escalation.next_step(request) for request in self.open_requests() if request.frame == frame]
        return min((time for time in times if time is not None), default=None)

    # --- opening and closing ---

    def open(self, request: Request) -> str:
        """Enter a new request; return its id."""
        self.entries[request.id] = Entry(request=request, digest=request.digest)
        self.unpublished[request.id] = request
        self._log.note(Transition(what="opened", at=request.requested_at, request=request.id))
        return request.id

    def change(self, request: Request) -> None:
        """Put *request* in the place of the one with its id, which stays open."""
        self.unpublished[request.id] = self.entries[request.id].request = request

    def take_due(self, now: datetime) -> None:
        """Take what is due by *now*: reminders and escalations, then deadlines."""
        self.remind(now)
        self.expire(now)

    def remind(self, now: datetime) -> None:
        """Take the reminders and escalations that are due, each once and in their order, however late it is."""
        waiting = [entry for entry in self.entries.values() if entry.waits]
        steps = [(step, entry) for entry in waiting for step in escalation.due(entry.request, now)]
        for step, entry in sorted(steps, key=lambda each: each[0].at):
            self.change(escalation.as_of(entry.request, step.at, now))
            self._log.note(escalation.transition(entry.request, step, now))

    def expire(self, now: datetime) -> list[Entry]:
        """Close the requests that are past their deadline; `on_deadline` of each says with which verdict."""
        due = [
            entry
            for entry in self.entries.values()
            if entry.state == "open"
            and entry.request.deadline is not None
            and now >= entry.request.deadline
            and not self._may_be_rejected(entry.request)
        ]
        for entry in due:
            default = entry.request.on_deadline
            entry.verdict = _default_of(entry.request)
            self.close(entry, "expired", "deadline", now)
            step = Transition(what="expired", at=now, request=entry.request.id, verdict=default, why="deadline")
            self._log.note(step)
        return due

    def withdraw(self, request_id: str, now: datetime, why: str) -> None:
        """Close a request that nobody has to answer any more."""
        entry = self.entries[request_id]
        if entry.waits:
            self.close(entry, "withdrawn", why, now)
            self._log.note(Transition(what="withdrawn", at=now, request=request_id, why=why))

    def withdraw_all(self, frame: str, now: datetime, why: str) -> None:
        """Close every open request of one frame."""
        for request in self.open_requests():
            if request.frame == frame:
                self.withdraw(request.id, now, why)

    def close(
        self, entry: Entry, state: Literal["decided", "edited", "expired", "withdrawn"], by: str | None, now: datetime
    ) -> None:
        """Close an entry, whose verdict is set already; the step is the caller's to log."""
        entry.state = state
        entry.closed_by = by
        entry.closed_at = now
        self.unpublished[entry.request.id] = None

    # --- decisions that are being checked ---

    @property
    def busy(self) -> bool:
        """True while a decision is being checked."""
        return bool(self._looked_up or self._held)

    def is_checked(self, decision: Decision) -> bool:
        """Return whether this very decision is being checked: it came a second time, by another way."""
        key = (decision.decision_id, content_of(decision))
        return self._held.get(decision.id) == key or decision in self._looked_up

    def is_looked_up(self, request_id: str) -> bool:
        """Return whether a lookup for a decision on the request is under way."""
        return any(decision.id == request_id for decision in self._looked_up)

    def look_up(self, decision: Decision) -> None:
        """Note that a lookup for a decision begins. The request stays open to others meanwhile.

        Otherwise somebody without the right to decide could keep it from those who have it.
        """
        self._looked_up.append(decision)

    def looked_up(self, decision: Decision) -> None:
        """Note that the lookup has ended."""
        self._looked_up.remove(decision)

    def hold(self, decision: Decision) -> Entry:
        """Keep a request for one decision whose arguments are being checked. A rejection still closes it."""
        entry = self.entries[decision.id]
        self._held[decision.id] = (decision.decision_id, content_of(decision))
        entry.state = "checking"
        entry.closed_by = decision.decided_by
        return entry

    def release(self, decision: Decision) -> bool:
        """Open a held request again; return False where it was closed meanwhile."""
        entry = self.entries[decision.id]
        self._held.pop(decision.id, None)
        if entry.state != "checking":
            return False
        entry.state = "open"
        entry.closed_by = None
        return True

    def _may_be_rejected(self, request: Request) -> bool:
        """Return whether a rejection is being looked up: it came first, and beats a default of approve."""
        return request.on_deadline == "approve" and any(
            decision.id == request.id and isinstance(decision.verdict, Reject) for decision in self._looked_up
        )


def _default_of(request: Request) -> Verdict:
    """Return the verdict of a request that nobody decided: no approval unless the rule said so, and no second run."""
    match request.on_deadline:
        case "approve":
            return Approve()
        case "give_up":
            return GiveUp()
    return Reject(reason=NOBODY_ANSWERED if request.kind == "question" else "Nobody decided in time.")
