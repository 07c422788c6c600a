"""The ledger: decisions on everything that waits for a person.

Pure: time and new ids are given to it, so that it can be tested, and replayed, without a server.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel

from handfast.errors import DecisionConflictError, RefusalError, UnknownRequestError, VerdictNotAllowedError
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.requests import Decision, DecisionOutcome, Receipt, Request, Transition, Vote
from handfast.payloads.signature import SignedBy
from handfast.payloads.signed import About, about, unsigned
from handfast.workflows.ledger import escalation, votes as voting
from handfast.workflows.ledger.book import RequestBook
from handfast.workflows.ledger.entry import Entry, check_open
from handfast.workflows.ledger.log import RequestLog
from handfast.workflows.ledger.outcomes import Outcomes, OutcomesState
from handfast.workflows.ledger.standing_decisions import StandingDecision, StandingDecisions

KEPT_CLOSED: Final = 200
"""Closed requests that go into a fresh history: a late decision on one of them is told who decided."""


class LedgerState(BaseModel):
    """All that lasts of a ledger.

    Attributes:
        entries: Requests by id, in the order in which they opened.
        standing: Decisions that answer later calls, oldest first.
        signed: Only signed decisions are taken; whoever calls `Ledger.record` has verified them.
    """

    entries: dict[str, Entry] = {}
    standing: list[StandingDecision] = []
    outcomes: OutcomesState = OutcomesState()
    signed: bool = False

    def carried(self, needed: Collection[str]) -> LedgerState:
        """Return the state as it goes into a fresh history.

        Closed requests beyond the newest `KEPT_CLOSED` are left out, and these are without what they were about; but
        for *needed* ones, which calls refer to, and those of standing decisions.
        """
        kept = {*needed, *(each.request for each in self.standing)}
        closed = [request_id for request_id, entry in self.entries.items() if not entry.waits]
        short = set(closed[-KEPT_CLOSED:]) - kept
        entries = {
            request_id: _shortened(entry) if request_id in short else entry
            for request_id, entry in self.entries.items()
            if request_id in kept or request_id in short or entry.waits
        }
        return self.model_copy(update={"entries": entries})


class Ledger:
    """Takes decisions on the requests of one workflow.

    Attributes:
        state: All of it that lasts.
        log: Steps that requests have taken since the last publication.
        book: The requests.
        standing: Decisions that answer later calls.
        outcomes: Outcomes of decisions, by their ids.
    """

    def __init__(
        self,
        state: LedgerState | None = None,
        arguments_of: Callable[[Request], JsonObject | None] = lambda request: request.arguments,
        root_of: Callable[[str], str] = lambda frame: frame,
    ) -> None:
        """Work on *state*.

        Args:
            state: None begins empty.
            arguments_of: Returns the whole arguments of an open request's call, where they are known.
            root_of: Returns the root frame of the run that a frame belongs to.
        """
        self.state = LedgerState() if state is None else state
        self.log = RequestLog(self.state.entries)
        self.book = RequestBook(self.state.entries, self.log)
        self.standing = StandingDecisions(self.state.standing)
        self.outcomes = Outcomes(self.state.outcomes)
        self._arguments_of = arguments_of
        self._root_of = root_of
        self._answers_siblings = bool(self.state.standing)  # one may have come right before the history was left

    # --- checking ---

    def check(self, decision: Decision, now: datetime) -> None:
        """Raise the refusal that *decision* would get; change nothing.

        A validator calls this, so who may decide is computed as of *now*, not read: an approver whose turn has come
        may decide before the timer of the escalation has fired.

        Raises:
            RefusalError: One of its subclasses.
        """
        if self.receipt_of(decision) is not None:
            return
        entry = self.book.entries.get(decision.id)
        if entry is None:
            raise UnknownRequestError(
                f"no request {decision.id} in this run; `run.pending()` and `handfast approvals` list those that wait",
                request=decision.id,
            )
        check_open(entry, decision, now)
        if self.state.signed and decision.signature is None:
            raise unsigned(decision.id)
        voting.check_right(escalation.as_of(entry.request, now), decision)
        self.standing.check(entry.request, decision, self._arguments_of(entry.request), now)

    def check_shorthand(self, decision: Decision) -> None:
        """Refuse a signal `approve` or `reject` about what is no yes or no: a bare id must not end a run.

        Raises:
            VerdictNotAllowedError: The request is of such a kind.
        """
        entry = self.book.entries.get(decision.id)
        if entry is not None and entry.request.kind not in ("approval", "handoff", "hosted_mcp"):
            raise VerdictNotAllowedError(
                f"{decision.id} is of kind {entry.request.kind}; use decide",
                request=decision.id,
                verdict=decision.verdict.kind,
                allowed=entry.request.verdicts,
            )

    def receipt_of(self, decision: Decision) -> Receipt | None:
        """Return the receipt of the same decision, if it was recorded before.

        Raises:
            DecisionConflictError: Its decision id was used with other content.
        """
        return self.outcomes.receipt_of(decision, signed=self.state.signed)

    def about(self, decision: Decision) -> About | None:
        """Return which calls a decision on an open request answers, where it is to be remembered."""
        request = self.book.entries[decision.id].request
        return about(decision, request.tool or "", request.agent, self._arguments_of(request))

    def looked_up(self, decision: Decision) -> None:
        """Note that a lookup for a decision has ended: a standing decision may answer its request now."""
        self.book.looked_up(decision)
        self._answers_siblings = True

    def release(self, decision: Decision) -> None:
        """Open a request again that was held for a check: a standing decision may answer it now."""
        self._answers_siblings = self.book.release(decision) or self._answers_siblings

    # --- recording ---

    def record(self, decision: Decision, now: datetime) -> Receipt:
        """Count a decision that `check` let pass, and close its request where that is enough."""
        entry = self.book.entries[decision.id]
        votes: list[Vote] | None = None
        if voting.takes_votes(entry.request):
            votes = voting.counted(entry.request, decision, now, self._vouched(decision))
            entry.request = entry.request.model_copy(update={"votes": votes})
        entry.proofs = voting.proven(entry.proofs, decision)
        closes = votes is None or voting.enough(entry.request, votes, decision.verdict.kind)
        if closes:
            self._remember(entry.request, decision, now)
            self._close(entry, decision, "decided", now)
        else:
            self.book.change(entry.request)
        receipt = self._receipt(
            decision,
            now,
            open=None if closes else True,
            votes=None if votes is None else voting.votes_for(votes, decision.verdict.kind),
            needed=None if votes is None else voting.needed(entry.request, decision.verdict.kind),
        )
        self._record(decision, receipt, "decided" if closes else "voted", now)
        return receipt

    def replace(self, decision: Decision, again: Request, now: datetime) -> Receipt:
        """Close a request whose arguments were edited, and open *again* for them: votes on the old ones are void."""
        self._close(self.book.entries[decision.id], decision, "edited", now)
        receipt = self._receipt(decision, now, open=True, asked_again=again.id)
        self._record(decision, receipt, "edited", now)
        self.book.open(again)
        return receipt

    def note_repeated(self, decision: Decision, now: datetime) -> None:
        """Log a decision that was recorded before; it changes nothing."""
        self.log.note_refusal(
            Transition(
                what="repeated",
                at=now,
                request=decision.id,
                verdict=decision.verdict.kind,
                by=decision.decided_by,
                decision_id=decision.decision_id,
            )
        )

    def refuse(self, decision: Decision | None, refusal: RefusalError, now: datetime) -> None:
        """Log a refused signal, whose sender cannot be answered; None where it is no decision."""
        kind = type(refusal).__name__
        if decision is not None and not isinstance(refusal, DecisionConflictError):
            self.outcomes.keep(
                decision, DecisionOutcome(decision_id="", state="refused", error=kind, message=refusal.message)
            )
        self.log.note_refusal(
            Transition(
                what="refused",
                at=now,
                request=decision.id if decision else None,
                verdict=decision.verdict.kind if decision else None,
                by=decision.decided_by if decision else None,
                decision_id=decision.decision_id if decision else None,
                why=f"{kind}: {refusal.message}",
            )
        )

    # --- standing decisions ---

    def recall(self, request: Request, arguments: JsonObject, call: str, now: datetime) -> Entry | None:
        """Answer a call by a standing decision, before anybody is asked about it.

        Args:
            request: Would be asked.
            arguments: Of the call, whole.
            call: Its id, for the log.
            now: Workflow time.

        Returns:
            The decision, as a closed entry under the id of the request that was decided; None where a person is asked.
        """
        standing = self._standing_for(request, arguments, now)
        if standing is None:
            return None
        self._use(
            standing,
            "remembered",
            now,
            request=standing.request,
            why=f"{request.agent}: {request.tool} {call}",
            frame=request.frame,
            call=call,
        )
        return Entry(
            request=self.book.entries[standing.request].request,
            digest="",
            state="decided",
            verdict=standing.verdict,
            closed_by=standing.by,
            proofs=standing.proofs,
        )

    def answer_siblings(self, now: datetime) -> None:
        """Close open requests that a standing decision answers.

        The driver calls this when it wakes, which is after all messages of its workflow task: so an explicit decision
        wins over a standing one, in whichever order they came. A request that is being decided is left to that.
        """
        if not self._answers_siblings:
            return
        self._answers_siblings = False
        for entry in self.book.entries.values():
            request = entry.request
            if entry.state != "open" or self.book.is_looked_up(request.id):
                continue
            standing = self._standing_for(request, self._arguments_of(request), now)
            if standing is None:
                continue
            entry.verdict, entry.proofs = standing.verdict, standing.proofs
            self.book.close(entry, "decided", standing.by, now)
            self._use(standing, "decided", now, request=request.id, why=f"remembered from {standing.request}")

    def distrust(self, requests: Collection[str], frame: str, call: str, why: str, now: datetime) -> None:
        """Forget the standing decisions on *requests*, which could not be verified when *call* was to run."""
        for dropped in self.standing.drop(requests):
            self.log.note(
                Transition(
                    what="voided",
                    at=now,
                    request=dropped.request,
                    by=dropped.by,
                    why=f"no longer remembered: {why}",
                    remember=dropped.remember,
                    frame=frame,
                    call=call,
                )
            )

    # --- inside ---

    def _close(self, entry: Entry, decision: Decision, state: Literal["decided", "edited"], now: datetime) -> None:
        entry.verdict, entry.note = decision.verdict, decision.note
        self.book.close(entry, state, decision.decided_by, now)

    def _remember(self, request: Request, decision: Decision, now: datetime) -> None:
        if decision.remember is None:
            return
        root = self._root_of(request.frame)
        new = StandingDecision.of_decision(request, decision, self._arguments_of(request), root, now)
        self.standing.add(new, now)
        self._answers_siblings = True

    def _receipt(self, decision: Decision, now: datetime, **more: Any) -> Receipt:
        return Receipt(
            id=decision.id,
            verdict=decision.verdict.kind,
            decided_by=decision.decided_by,
            decision_id=decision.decision_id,
            at=now,
            signed_by=self._vouched(decision),
            **more,
        )

    def _record(
        self, decision: Decision, receipt: Receipt, what: Literal["decided", "voted", "edited"], now: datetime
    ) -> None:
        self.outcomes.keep(decision, DecisionOutcome(decision_id="", state="recorded", receipt=receipt))
        self.log.note(
            Transition(
                what=what,
                at=now,
                request=decision.id,
                verdict=decision.verdict.kind,
                by=decision.decided_by,
                decision_id=decision.decision_id,
                why=decision.note or getattr(decision.verdict, "reason", None) or None,
                remember=decision.remember,
                signed_by=self._vouched(decision),
            )
        )

    def _standing_for(self, request: Request, arguments: JsonObject | None, now: datetime) -> StandingDecision | None:
        root = self._root_of(request.frame)
        return self.standing.find(request, arguments, root, now, signed=self.state.signed)

    def _use(
        self, standing: StandingDecision, what: Literal["remembered", "decided"], now: datetime, **about: Any
    ) -> None:
        """Count, and log, that a standing decision has answered a call."""
        standing.used += 1
        self.log.note(
            Transition(
                what=what,
                at=now,
                verdict=standing.verdict.kind,
                by=standing.by,
                remember=standing.remember,
                signed_by=self._vouched(standing.proof),
                **about,
            )
        )

    def _vouched(self, decision: Decision | None) -> SignedBy | None:
        """Return the key that vouches for a decider's name, where it has been verified."""
        signature = decision.signature if decision is not None and self.state.signed else None
        return None if signature is None else signature.signed_by


def _shortened(entry: Entry) -> Entry:
    """Return a closed entry without what it was about."""
    left_out = ("arguments", "arguments_preview", "facts", "reason", "votes", "schedule", "review")
    request = entry.request.model_copy(update=dict.fromkeys(left_out))
    return entry.model_copy(update={"request": request, "note": None, "proofs": []})
