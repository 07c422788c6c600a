"""The requests of a run: opened, due and closed, and the log of every step. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, get_args

from handfast.payloads.notify import NotificationKind
from handfast.payloads.requests import (
    NOBODY_ANSWERED,
    Approve,
    Decision,
    GiveUp,
    Grant,
    Reject,
    Request,
    Transition,
    Verdict,
)
from handfast.workflows.frame.frame import Call
from handfast.workflows.ledger import escalation
from handfast.workflows.ledger.entry import Entry

KEPT_REFUSALS_PER_TASK = 50
"""Refused signals that are logged in one go: a flood must not grow the memo without bound."""

NEWS: Final = frozenset(get_args(NotificationKind))
"""Steps that people may be told of."""

WHY_CHARACTERS = 512
"""Of a reason or note that the log repeats; whole it stands where it came in, and in the call's output."""


class RequestBook:
    """Opens requests, closes those that are due, and logs each transition once.

    Attributes:
        entries: Every request by its id, in the order in which they opened.
        log: Steps since the last publication.
        news: Those that people may be told of, each with its request.
        unpublished: What the memo has to show anew: None where a request is open no more.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.entries: dict[str, Entry] = {}
        self.log: list[Transition] = []
        self.news: list[tuple[Transition, Request]] = []
        self.unpublished: dict[str, Request | None] = {}
        self._looked_up: list[Decision] = []

    # --- reading ---

    def open_requests(self) -> list[Request]:
        """Requests that wait, in the order in which they opened."""
        return [entry.request for entry in self.entries.values() if entry.state in ("open", "checking")]

    def waits(self, request_id: str) -> bool:
        """Whether a request is still to be decided."""
        return self.entries[request_id].state in ("open", "checking")

    def next_deadline(self, frame: str | None = None) -> datetime | None:
        """The nearest deadline among the open requests of all frames, or the nearest of one that a frame waits for."""
        deadlines = [
            entry.request.deadline
            for entry in self.entries.values()
            if entry.state == "open"
            and entry.request.deadline is not None
            and (frame is None or (frame == entry.request.frame and not self._may_be_rejected(entry.request)))
        ]
        return min(deadlines, default=None)

    def next_step(self, frame: str) -> datetime | None:
        """The nearest reminder or escalation of a request of that frame."""
        times = [escalation.next_step(request) for request in self.open_requests() if request.frame == frame]
        return min((time for time in times if time is not None), default=None)

    # --- requests ---

    def open(self, request: Request) -> None:
        """Enter a new request."""
        self.entries[request.id] = Entry(request=request, digest=request.digest)
        self.unpublished[request.id] = request
        self.note(Transition(what="opened", at=request.requested_at, request=request.id))

    def take_due(self, now: datetime) -> None:
        """Take what happens by itself, up to now."""
        self.remind(now)
        self.expire(now)

    def remind(self, now: datetime) -> None:
        """Take the reminders and escalations that are due, each once and in their order, however late it is."""
        waiting = [entry for entry in self.entries.values() if entry.state in ("open", "checking")]
        steps = [(step, entry) for entry in waiting for step in escalation.due(entry.request, now)]
        for step, entry in sorted(steps, key=lambda each: each[0].at):
            self.unpublished[entry.request.id] = entry.request = escalation.as_of(entry.request, step.at, now)
            self.note(escalation.transition(entry.request, step, now))

    def expire(self, now: datetime) -> list[Entry]:
        """Close what is past its deadline; each request's `on_deadline` says what that means."""
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
            self._close(entry, "expired", "deadline", now)
            self.note(Transition(what="expired", at=now, request=entry.request.id, verdict=default, why="deadline"))
        return due

    def withdraw(self, request_id: str, now: datetime, why: str) -> None:
        """Close a request that nobody has to answer any more."""
        entry = self.entries[request_id]
        if entry.state in ("open", "checking"):
            self._close(entry, "withdrawn", why, now)
            self.note(Transition(what="withdrawn", at=now, request=request_id, why=why))

    def _close(
        self, entry: Entry, state: Literal["decided", "edited", "expired", "withdrawn"], by: str | None, now: datetime
    ) -> None:
        entry.state = state
        entry.closed_by = by
        entry.closed_at = now
        self.unpublished[entry.request.id] = None

    def _may_be_rejected(self, request: Request) -> bool:
        """Whether it is being found out if a rejection counts: it came first, and beats a default of approve."""
        return request.on_deadline == "approve" and any(
            decision.id == request.id and isinstance(decision.verdict, Reject) for decision in self._looked_up
        )

    # --- the log ---

    def note(self, transition: Transition) -> None:
        """Log a step, for the next publication; one that changes where a request stands is news of it too."""
        self.log.append(transition)
        if transition.request in self.entries and transition.what in NEWS:
            self.news.append((transition, self.entries[transition.request].request))

    def note_refusal(self, transition: Transition) -> None:
        """Log a signal that was refused, unless that was logged often enough in this go."""
        if sum(1 for each in self.log if each.what == transition.what) < KEPT_REFUSALS_PER_TASK:
            self.note(transition)

    def note_doubt(self, frame: str, call: Call, why: str, now: datetime) -> None:
        """Log that it is unknown whether a call took effect, where nobody is asked."""
        why = f"{call.tool} {call.call_id}: {why}"[:WHY_CHARACTERS]
        self.note(Transition(what="in_doubt", at=now, why=why, frame=frame, call=call.call_id))

    def note_void(self, frame: str, call: Call, why: str, now: datetime, verdict: str | None = None) -> None:
        """Log that a call's approval no longer holds; what is asked in its place follows, or with *give_up* nothing."""
        approved = self.entries.get(call.released_by or "")
        self.note(
            Transition(
                what="voided",
                at=now,
                request=None if approved is None else approved.request.id,
                verdict=verdict,
                by=None if approved is None else approved.closed_by,
                why=why[:WHY_CHARACTERS],
                frame=frame,
                call=call.call_id,
            )
        )

    def note_verified(self, frame: str, call: Call, verdict: str | None, why: str, now: datetime) -> None:
        """Log what a call's tool found out about its effect; None where it found out nothing."""
        why = f"{call.tool} {call.call_id}: {why}"[:WHY_CHARACTERS]
        by = "verify"
        self.note(Transition(what="verified", at=now, verdict=verdict, by=by, why=why, frame=frame, call=call.call_id))

    def note_compaction(self, frame: str, problem: str | None, now: datetime) -> None:
        """Log that a loop's conversation was made short, or why not."""
        what: Literal["compacted", "compaction_failed"] = "compacted" if problem is None else "compaction_failed"
        told = f"loop {frame}" if problem is None else f"loop {frame}: {problem}"
        self.note(Transition(what=what, at=now, why=told[:WHY_CHARACTERS]))

    def note_raise(self, frame: str, more: Grant, by: str | None, now: datetime) -> None:
        """Log that a loop got more turns or tokens without having asked."""
        added = ", ".join(f"{count} {what}" for what, count in more.to_wire().items() if what != "kind")
        self.note(Transition(what="limits_raised", at=now, by=by, why=f"loop {frame}: {added} more", frame=frame))


def _default_of(request: Request) -> Verdict:
    """What silence becomes at a deadline: never a yes unless the rule said so, and never another run of a call."""
    match request.on_deadline:
        case "approve":
            return Approve()
        case "give_up":
            return GiveUp()
    return Reject(reason=NOBODY_ANSWERED if request.kind == "question" else "Nobody decided in time.")
