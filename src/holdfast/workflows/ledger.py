"""The ledger: one book of everything that waits for a person.

Pure: the time and new ids are given to it, so that it can be tested, and replayed, without a server.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Final, Literal, get_args

from pydantic import BaseModel

from holdfast.errors import (
    DecisionConflictError,
    RefusalError,
    RememberRefusedError,
    UnknownRequestError,
    VerdictNotAllowedError,
)
from holdfast.payloads.json_profile import JsonObject
from holdfast.payloads.notify import NotificationKind
from holdfast.payloads.requests import (
    NOBODY_ANSWERED,
    Approve,
    Decision,
    DecisionOutcome,
    GiveUp,
    Grant,
    Receipt,
    Reject,
    Request,
    Transition,
    Verdict,
    Vote,
)
from holdfast.payloads.signed import About, SignedBy, about, unsigned
from holdfast.workflows import escalating, remembering, voting
from holdfast.workflows.entry import Entry, check_open
from holdfast.workflows.frames import Call
from holdfast.workflows.outcomes import Outcomes, content_of
from holdfast.workflows.remembering import Remembered

KEPT_CLOSED = 200
"""Closed requests that are remembered in a fresh history: a late decision on one of them is told who decided."""

KEPT_REFUSALS_PER_TASK = 50
"""Refused signals that are logged in one go: a flood must not grow the memo without bound."""

NEWS: Final = frozenset(get_args(NotificationKind))
"""Steps that people may be told of."""

WHY_CHARACTERS = 512
"""Of a reason or note that the log repeats; whole it stands where it came in, and in the call's output."""


class LedgerState(BaseModel):
    """The ledger as it goes on in a fresh history.

    Attributes:
        entries: In the order in which they opened; closed ones that no call refers to without what they were about.
        outcomes: Of decisions: id, digest of the content, outcome.
    """

    entries: list[Entry]
    remembered: list[Remembered]
    outcomes: list[tuple[str, str, DecisionOutcome]]


class Ledger:
    """Opens requests, takes decisions, and logs each transition once.

    Attributes:
        signed: Only signed decisions are taken, and whoever calls `record` has verified them: names are verified.
    """

    def __init__(
        self,
        arguments_of: Callable[[Request], JsonObject | None] = lambda request: request.arguments,
        root_of: Callable[[str], str] = lambda frame: frame,
    ) -> None:
        """Begin empty.

        Args:
            arguments_of: The whole arguments of the call that an open request is about, where they are known.
            root_of: The run, as the id of its frame, that a frame belongs to.
        """
        self.signed = False
        self.remembered: list[Remembered] = []
        self._arguments_of = arguments_of
        self._root_of = root_of
        self._to_answer = False
        self.entries: dict[str, Entry] = {}
        self.log: list[Transition] = []
        self.news: list[tuple[Transition, Request]] = []
        self.unpublished: dict[str, Request | None] = {}
        self._outcomes = Outcomes()
        self._held: dict[str, tuple[str | None, str]] = {}
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
        times = [escalating.next_step(request) for request in self.open_requests() if request.frame == frame]
        return min((time for time in times if time is not None), default=None)

    def outcome(self, decision_id: str) -> DecisionOutcome:
        """What became of a decision."""
        return self._outcomes.of(decision_id)

    @property
    def busy(self) -> bool:
        """Whether a decision is being checked."""
        return bool(self._looked_up or self._held)

    # --- going on in a fresh history ---

    def carried(self, needed: Collection[str]) -> LedgerState:
        """What is taken along: what is open, *needed* ones, and the newest of the rest, shortened."""
        kept = {*needed, *(each.request for each in self.remembered)}
        closed = [entry.request.id for entry in self.entries.values() if entry.state not in ("open", "checking")]
        short = set(closed[-KEPT_CLOSED:]) - kept
        entries = [
            _shortened(entry) if entry.request.id in short else entry
            for entry in self.entries.values()
            if entry.request.id in kept or entry.request.id in short or entry.state in ("open", "checking")
        ]
        return LedgerState(entries=entries, remembered=self.remembered, outcomes=self._outcomes.carried())

    def restore(self, state: LedgerState) -> None:
        """Take over what was carried."""
        self.entries = {entry.request.id: entry for entry in state.entries}
        self.remembered = state.remembered
        self._to_answer = bool(state.remembered)  # one may have come right before
        self._outcomes.restore(state.outcomes)

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
        steps = [(step, entry) for entry in waiting for step in escalating.due(entry.request, now)]
        for step, entry in sorted(steps, key=lambda each: each[0].at):
            self.unpublished[entry.request.id] = entry.request = escalating.as_of(entry.request, step.at, now)
            self.note(escalating.transition(entry.request, step, now))

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

    # --- decisions ---

    def check(self, decision: Decision, now: datetime) -> None:
        """Raise the refusal that *decision* would get; change nothing.

        Raises:
            RefusalError: One of its subclasses.
        """
        if self.repeated(decision) is not None:
            return
        entry = self.entries.get(decision.id)
        if entry is None:
            raise UnknownRequestError(
                f"no request {decision.id} in this run; list them with pending_approvals", request=decision.id
            )
        check_open(entry, decision, now)
        if self.signed and decision.signature is None:
            raise unsigned(decision.id)
        voting.check_right(escalating.as_of(entry.request, now), decision)
        if decision.remember is not None:
            remembering.check(entry.request, decision, self._arguments_of(entry.request))
            if len(self.remembered) >= remembering.MOST_REMEMBERED:
                raise RememberRefusedError(
                    f"{remembering.MOST_REMEMBERED} decisions are remembered here already; decide without remember",
                    request=decision.id,
                    rule="remember",
                )

    def check_shorthand(self, decision: Decision) -> None:
        """Refuse a signal `approve` or `reject` about what is no yes or no: a bare id must not end a run.

        Raises:
            VerdictNotAllowedError: The request is of such a kind.
        """
        entry = self.entries.get(decision.id)
        if entry is not None and entry.request.kind not in ("approval", "handoff", "hosted_mcp"):
            raise VerdictNotAllowedError(
                f"{decision.id} is of kind {entry.request.kind}; use decide",
                request=decision.id,
                verdict=decision.verdict.kind,
                allowed=entry.request.verdicts,
            )

    def about(self, decision: Decision) -> About | None:
        """Which calls a decision on an open request answers, where it is to be remembered."""
        request = self.entries[decision.id].request
        return about(decision, request.tool or "", request.agent, self._arguments_of(request))

    def repeated(self, decision: Decision) -> Receipt | None:
        """The receipt of the same decision, if it was recorded before.

        Raises:
            DecisionConflictError: Its decision id was used with other content.
        """
        return self._outcomes.receipt_of(decision, signed=self.signed)

    def holds(self, decision: Decision) -> bool:
        """Whether this very decision is being checked: it came a second time, by another way."""
        key = (decision.decision_id, content_of(decision))
        return self._held.get(decision.id) == key or decision in self._looked_up

    def look_up(self, decision: Decision) -> None:
        """Note that the decider's groups are being looked up. The request stays open to everybody else."""
        self._looked_up.append(decision)

    def looked_up(self, decision: Decision) -> None:
        """Note that they are known."""
        self._looked_up.remove(decision)
        self._to_answer = True

    def _may_be_rejected(self, request: Request) -> bool:
        """Whether it is being found out if a rejection counts: it came first, and beats a default of approve."""
        return request.on_deadline == "approve" and any(
            decision.id == request.id and isinstance(decision.verdict, Reject) for decision in self._looked_up
        )

    def hold(self, decision: Decision) -> Entry:
        """Keep a request for one decision whose arguments are being checked. A reject still closes it."""
        entry = self.entries[decision.id]
        self._held[decision.id] = (decision.decision_id, content_of(decision))
        entry.state = "checking"
        entry.closed_by = decision.decided_by
        return entry

    def release(self, decision: Decision) -> None:
        """Open a held request again."""
        entry = self.entries[decision.id]
        self._held.pop(decision.id, None)
        if entry.state == "checking":
            entry.state = "open"
            entry.closed_by = None
            self._to_answer = True

    def record(self, decision: Decision, now: datetime) -> Receipt:
        """Count a decision that `check` let pass, and close its request where that is enough."""
        entry = self.entries[decision.id]
        votes: list[Vote] | None = None
        if voting.takes_votes(entry.request):
            votes = voting.counted(entry.request, decision, now, self._vouched(decision))
            entry.request = entry.request.model_copy(update={"votes": votes})
        entry.proofs = voting.proven(entry.proofs, decision)
        closes = votes is None or voting.enough(entry.request, votes, decision.verdict.kind)
        if closes:
            if decision.remember is not None:
                self._keep(entry.request, decision, now)
            entry.verdict = decision.verdict
            entry.note = decision.note
            self._close(entry, "decided", decision.decided_by, now)
        else:
            self.unpublished[decision.id] = entry.request
        receipt = Receipt(
            id=decision.id,
            verdict=decision.verdict.kind,
            decided_by=decision.decided_by,
            decision_id=decision.decision_id,
            at=now,
            open=None if closes else True,
            votes=None if votes is None else voting.votes_for(votes, decision.verdict.kind),
            needed=None if votes is None else voting.needed(entry.request, decision.verdict.kind),
            signed_by=self._vouched(decision),
        )
        self._record(decision, receipt, "decided" if closes else "voted", now)
        return receipt

    def replace(self, decision: Decision, again: Request, now: datetime) -> Receipt:
        """Close a request whose arguments were edited, and open *again* for them: votes on the old ones are void."""
        entry = self.entries[decision.id]
        entry.verdict = decision.verdict
        entry.note = decision.note
        self._close(entry, "edited", decision.decided_by, now)
        receipt = Receipt(
            id=decision.id,
            verdict=decision.verdict.kind,
            decided_by=decision.decided_by,
            decision_id=decision.decision_id,
            at=now,
            open=True,
            asked_again=again.id,
            signed_by=self._vouched(decision),
        )
        self._record(decision, receipt, "edited", now)
        self.open(again)
        return receipt

    def _record(
        self, decision: Decision, receipt: Receipt, what: Literal["decided", "voted", "edited"], now: datetime
    ) -> None:
        self._outcomes.keep(decision, DecisionOutcome(decision_id="", state="recorded", receipt=receipt))
        self.note(
            Transition(
                what=what,
                at=now,
                request=decision.id,
                verdict=decision.verdict.kind,
                by=decision.decided_by,
                decision_id=decision.decision_id,
                why=(decision.note or getattr(decision.verdict, "reason", None) or "")[:WHY_CHARACTERS] or None,
                remember=decision.remember,
                signed_by=self._vouched(decision),
            )
        )

    def _vouched(self, decision: Decision | None) -> SignedBy | None:
        """The key that vouches for a decider's name, where it has been verified."""
        signature = decision.signature if decision is not None and self.signed else None
        return None if signature is None else signature.signed_by

    def refuse(self, decision: Decision | None, refusal: RefusalError, now: datetime) -> None:
        """Log a decision that came by signal, where its sender cannot be answered."""
        kind = type(refusal).__name__
        if decision is not None and not isinstance(refusal, DecisionConflictError):
            self._outcomes.keep(
                decision,
                DecisionOutcome(decision_id="", state="refused", error=kind, message=refusal.message),
            )
        self.note_refusal(
            Transition(
                what="refused",
                at=now,
                request=decision.id if decision else None,
                verdict=decision.verdict.kind if decision else None,
                by=decision.decided_by if decision else None,
                decision_id=decision.decision_id if decision else None,
                why=f"{kind}: {refusal.message}"[:WHY_CHARACTERS],
            )
        )

    def note_refusal(self, transition: Transition) -> None:
        """Log a signal that was refused, unless that was logged often enough in this go."""
        if sum(1 for each in self.log if each.what == transition.what) < KEPT_REFUSALS_PER_TASK:
            self.note(transition)

    # --- decisions that are remembered ---

    def recall(self, request: Request, arguments: JsonObject, call: str, now: datetime) -> Entry | None:
        """Answer a call by a remembered decision, before anybody is asked about it.

        Args:
            request: What would be asked.
            arguments: The call's, whole.
            call: Its id, for the log.
            now: Workflow time.

        Returns:
            The remembered decision, as a closed entry under the id of the request that was decided; None: ask.
        """
        kept = remembering.recall(self._counting, request, arguments, self._root_of(request.frame))
        if kept is None:
            return None
        self.note(
            Transition(
                what="remembered",
                at=now,
                request=kept.request,
                verdict=kept.verdict.kind,
                by=kept.by,
                why=f"{request.agent}: {request.tool} {call}"[:WHY_CHARACTERS],
                remember=remembering.wish_of(kept),
                signed_by=self._vouched(kept.proof),
                frame=request.frame,
                call=call,
            )
        )
        original = self.entries[kept.request].request
        proofs = [kept.proof] if kept.proof is not None else []
        return Entry(
            request=original, digest="", state="decided", verdict=kept.verdict, closed_by=kept.by, proofs=proofs
        )

    @property
    def _counting(self) -> list[Remembered]:
        """The remembered decisions that count: in a run that takes signed ones only, those."""
        return [each for each in self.remembered if each.proof is not None or not self.signed]

    def answer_siblings(self, now: datetime) -> None:
        """Close open requests that a remembered decision answers; one that is being decided is left to that.

        Called when all messages of a workflow task have been taken, so that an explicit decision goes first.
        """
        if not self._to_answer:
            return
        self._to_answer = False
        looked_up = {decision.id for decision in self._looked_up}
        for entry in self.entries.values():
            request = entry.request
            if entry.state != "open" or request.id in looked_up:
                continue
            root = self._root_of(request.frame)
            kept = remembering.recall(self._counting, request, self._arguments_of(request), root)
            if kept is None:
                continue
            entry.verdict = kept.verdict
            entry.proofs = [kept.proof] if kept.proof is not None else []
            self._close(entry, "decided", kept.by, now)
            self.note(
                Transition(
                    what="decided",
                    at=now,
                    request=request.id,
                    verdict=kept.verdict.kind,
                    by=kept.by,
                    why=f"remembered from {kept.request}",
                    remember=remembering.wish_of(kept),
                    signed_by=self._vouched(kept.proof),
                )
            )

    def forget(self, root: str) -> None:
        """Forget the decisions that were remembered for a run, which has ended."""
        self.remembered = [each for each in self.remembered if each.root != root]

    def _keep(self, request: Request, decision: Decision, now: datetime) -> None:
        kept = remembering.remembered(request, decision, self._arguments_of(request), self._root_of(request.frame), now)
        self.remembered = remembering.added(self.remembered, kept)
        self._to_answer = True

    # --- inside ---

    def _close(
        self, entry: Entry, state: Literal["decided", "edited", "expired", "withdrawn"], by: str | None, now: datetime
    ) -> None:
        entry.state = state
        entry.closed_by = by
        entry.closed_at = now
        self.unpublished[entry.request.id] = None

    def note(self, transition: Transition) -> None:
        """Log a step, for the next publication; one that changes where a request stands is news of it too."""
        self.log.append(transition)
        if transition.request in self.entries and transition.what in NEWS:
            self.news.append((transition, self.entries[transition.request].request))


def _default_of(request: Request) -> Verdict:
    """What silence becomes at a deadline: never a yes unless the rule said so, and never another run of a call."""
    match request.on_deadline:
        case "approve":
            return Approve()
        case "give_up":
            return GiveUp()
    return Reject(reason=NOBODY_ANSWERED if request.kind == "question" else "Nobody decided in time.")


def _shortened(entry: Entry) -> Entry:
    """A closed request without what it was about."""
    left_out = ("arguments", "arguments_preview", "facts", "reason", "votes", "schedule")
    request = entry.request.model_copy(update=dict.fromkeys(left_out))
    return entry.model_copy(update={"request": request, "note": None, "proofs": []})
