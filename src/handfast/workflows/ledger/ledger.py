"""The ledger: one book of everything that waits for a person.

Pure: the time and new ids are given to it, so that it can be tested, and replayed, without a server.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from handfast.errors import (
    DecisionConflictError,
    RefusalError,
    RememberRefusedError,
    UnknownRequestError,
    VerdictNotAllowedError,
)
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.requests import (
    Decision,
    DecisionOutcome,
    Receipt,
    Request,
    Transition,
    Vote,
)
from handfast.payloads.signed import About, about, unsigned
from handfast.workflows.ledger import escalation, standing_decisions, votes as voting
from handfast.workflows.ledger.book import WHY_CHARACTERS
from handfast.workflows.ledger.entry import Entry, check_open
from handfast.workflows.ledger.outcomes import Outcomes, content_of
from handfast.workflows.ledger.recall import Recalling
from handfast.workflows.ledger.standing_decisions import OneSpelling, Remembered

KEPT_CLOSED = 200
"""Closed requests that are remembered in a fresh history: a late decision on one of them is told who decided."""


class LedgerState(BaseModel):
    """The ledger as it goes on in a fresh history.

    Attributes:
        entries: In the order in which they opened; closed ones that no call refers to without what they were about.
        outcomes: Of decisions: id, digest of the content, outcome.
    """

    entries: list[Entry]
    remembered: list[Remembered]
    outcomes: list[tuple[str, str, DecisionOutcome]]


class Ledger(Recalling):
    """Takes decisions on the requests of a run.

    Attributes:
        signed: Only signed decisions are taken, and whoever calls `record` has verified them: names are verified.
    """

    def __init__(
        self,
        arguments_of: Callable[[Request], JsonObject | None] = lambda request: request.arguments,
        root_of: Callable[[str], str] = lambda frame: frame,
        one_spelling: OneSpelling = lambda: True,
    ) -> None:
        """Begin empty.

        Args:
            arguments_of: The whole arguments of the call that an open request is about, where they are known.
            root_of: The run, as the id of its frame, that a frame belongs to.
            one_spelling: Whether approvers that are spelled otherwise are the same people.
        """
        super().__init__(arguments_of, root_of, one_spelling)
        self._outcomes = Outcomes()
        self._held: dict[str, tuple[str | None, str]] = {}

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
                f"no request {decision.id} in this run; `run.pending()` and `handfast approvals` list those that wait",
                request=decision.id,
            )
        check_open(entry, decision, now)
        if self.signed and decision.signature is None:
            raise unsigned(decision.id)
        voting.check_right(escalation.as_of(entry.request, now), decision)
        if decision.remember is not None:
            standing_decisions.check(entry.request, decision, self._arguments_of(entry.request), now)
            if sum(each.holds(now) for each in self.remembered) >= standing_decisions.MOST_REMEMBERED:
                raise RememberRefusedError(
                    f"{standing_decisions.MOST_REMEMBERED} decisions are remembered here already; "
                    "decide without remember",
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

    def note_repeated(self, decision: Decision, now: datetime) -> None:
        """Log a decision that was recorded before, unless that was logged often enough in this go."""
        self.note_refusal(
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


def _shortened(entry: Entry) -> Entry:
    """A closed request without what it was about."""
    left_out = ("arguments", "arguments_preview", "facts", "reason", "votes", "schedule")
    request = entry.request.model_copy(update=dict.fromkeys(left_out))
    return entry.model_copy(update={"request": request, "note": None, "proofs": []})
