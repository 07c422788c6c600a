"""The log of the ledger: each step that a request takes, until it is published."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, get_args

from handfast.payloads.notify import NotificationKind
from handfast.payloads.requests import Grant, Request, Transition
from handfast.workflows.frame.frame import Call
from handfast.workflows.ledger.entry import Entry

MOST_REFUSALS_PER_TASK: Final = 50
"""Refused signals that one workflow task logs: a flood must not grow the memo without bound."""
WHY_CHARACTERS: Final = 512
"""Length of a reason in the log. The whole reason stands where it came in, and in the call's output."""
NOTIFIED: Final = frozenset(get_args(NotificationKind))
"""Steps that the application's `notify` function is told of."""


class RequestLog:
    """Collects steps for the next publication.

    Attributes:
        steps: Steps since the last publication.
        news: Those of them that people may be notified of, each with its request.
    """

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        """Begin empty; *entries* are the requests by their ids."""
        self.steps: list[Transition] = []
        self.news: list[tuple[Transition, Request]] = []
        self._entries = entries

    def note(self, step: Transition) -> None:
        """Log a step; its reason is cut to `WHY_CHARACTERS`."""
        if step.why is not None and len(step.why) > WHY_CHARACTERS:
            step = step.model_copy(update={"why": step.why[:WHY_CHARACTERS]})
        self.steps.append(step)
        entry = self._entries.get(step.request or "")
        decided = step.what == "reviewed" and step.left is None  # they are told of the decision that follows
        if entry is not None and step.what in NOTIFIED and not decided:
            self.news.append((step, entry.request))

    def note_refusal(self, step: Transition) -> None:
        """Log a refused signal, unless this task has logged `MOST_REFUSALS_PER_TASK` of its kind."""
        if sum(1 for each in self.steps if each.what == step.what) < MOST_REFUSALS_PER_TASK:
            self.note(step)

    def note_doubt(self, frame: str, call: Call, why: str, now: datetime) -> None:
        """Log that the outcome of a call is unknown, where no request asks about it."""
        why = f"{call.tool} {call.call_id}: {why}"
        self.note(Transition(what="in_doubt", at=now, why=why, frame=frame, call=call.call_id))

    def note_void(self, frame: str, call: Call, why: str, now: datetime, verdict: str | None = None) -> None:
        """Log that the approval of a call no longer holds.

        Args:
            frame: Of the call.
            call: The call, with the request that released it.
            why: What has changed.
            now: Workflow time.
            verdict: ``give_up`` where no further request follows.
        """
        approved = self._entries.get(call.released_by or "")
        self.note(
            Transition(
                what="voided",
                at=now,
                request=None if approved is None else approved.request.id,
                verdict=verdict,
                by=None if approved is None else approved.closed_by,
                why=why,
                frame=frame,
                call=call.call_id,
            )
        )

    def note_verified(self, frame: str, call: Call, verdict: str | None, why: str, now: datetime) -> None:
        """Log what a tool's `verify` answered about a call; None where it could not tell."""
        why = f"{call.tool} {call.call_id}: {why}"
        by = "verify"
        self.note(Transition(what="verified", at=now, verdict=verdict, by=by, why=why, frame=frame, call=call.call_id))

    def note_compaction(self, frame: str, problem: str | None, now: datetime) -> None:
        """Log that a conversation was compacted, or with *problem* why not."""
        told = f"loop {frame}" if problem is None else f"loop {frame}: {problem}"
        self.note(Transition(what="compacted" if problem is None else "compaction_failed", at=now, why=told))

    def note_raise(self, frame: str, more: Grant, by: str | None, now: datetime) -> None:
        """Log that the limits of a loop were raised without a request."""
        added = ", ".join(f"{count} {what}" for what, count in more.to_wire().items() if what != "kind")
        self.note(Transition(what="limits_raised", at=now, by=by, why=f"loop {frame}: {added} more", frame=frame))
