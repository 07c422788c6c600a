"""The handlers through which decisions come in, by update or by signal."""

from __future__ import annotations

from temporalio import workflow

from handfast.errors import DecisionInvalidError, RefusalError
from handfast.payloads.binding import digest_of
from handfast.payloads.evaluation import ArgumentsChecked
from handfast.payloads.json_profile import JsonObject, scrub
from handfast.payloads.requests import Decision, DecisionOutcome, Receipt
from handfast.workflows.handlers.checks import Checks, Review, edited_by
from handfast.workflows.handlers.decode import only_argument, read_decision, read_shorthand, read_stop, refusal_to_wire
from handfast.workflows.handlers.signatures import refuse_unverified, report_refused
from handfast.workflows.ledger import requests
from handfast.workflows.state.runs import Runs


class Decider:
    """Handles the signals and the update by which decisions come in, and the query about one."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._checks = Checks(runs)

    # --- signals: they cannot be answered, so a bad one is logged and changes nothing ---

    async def approve(self, *args: object) -> None:
        """Signal `approve`."""
        await self._by_signal("approve", args)

    async def reject(self, *args: object) -> None:
        """Signal `reject`."""
        await self._by_signal("reject", args)

    async def decide_by_signal(self, *args: object) -> None:
        """Signal `decide`, the update's fallback."""
        await self._by_signal(None, args)

    async def stop(self, *args: object) -> None:
        """Signal `stop`: finish the turn under way, then end."""
        try:
            why = read_stop(args)
        except RefusalError as refusal:
            self._log(None, refusal)
        else:
            self._stop(why)

    async def unknown_signal(self, name: str) -> None:
        """Log a signal of any other name as refused; its arguments stay unread."""
        self._log(None, DecisionInvalidError(f"there is no signal {scrub(name[:64])!r} here"))

    # --- the update ---

    def refuse(self, *args: object) -> None:
        """Validate the update `decide`: a refusal leaves no trace in the history."""
        try:
            decision = _named(read_decision(args))
            self._runs.ledger.check(decision, workflow.now())
            refuse_unverified(decision, self._runs.ledger, self._runs.identity)
        except RefusalError as refusal:
            report_refused(args, refusal, "update")
            raise refusal_to_wire(refusal) from None

    async def decide(self, *args: object) -> JsonObject:
        """Update `decide`: record the decision and answer with its receipt."""
        try:
            decision = _named(read_decision(args))
            return (await self._take(decision, verified=self._runs.ledger.state.signed)).to_wire()
        except RefusalError as refusal:
            report_refused(args, refusal, "update")
            raise refusal_to_wire(refusal) from None

    # --- the query ---

    def decision(self, *args: object) -> JsonObject:
        """Query `decision`: return the outcome of a decision id."""
        try:
            value = only_argument(args, '{"decision_id"}')
        except RefusalError as refusal:
            raise refusal_to_wire(refusal) from None
        decision_id = value.get("decision_id") if isinstance(value, dict) else value
        if not isinstance(decision_id, str):
            return DecisionOutcome(decision_id="", state="unknown").to_wire()
        return self._runs.ledger.outcomes.of(decision_id).to_wire()

    # --- inside ---

    def _stop(self, why: str) -> None:
        """Let every loop under way end after its turn.

        One that waits between turns, for a person, ends now; a run that is only about to begin, before its first one.
        """
        runs = self._runs
        if runs.about_to_begin:
            runs.state.stop_first = why
        for frame in runs.frames.all:
            if frame.phase == "finished" or frame.failure is not None:
                continue
            frame.stop = why
            if frame.phase in ("budget", "stuck") and frame.request is not None:
                runs.ledger.book.withdraw(frame.request, workflow.now(), "the run was told to stop")
                frame.phase = "model"
        runs.changed()

    async def _by_signal(self, shorthand: str | None, args: tuple[object, ...]) -> None:
        decision: Decision | None = None
        try:
            decision = read_decision(args) if shorthand is None else read_shorthand(shorthand, args)
            if shorthand is not None:
                self._runs.ledger.check_shorthand(decision)
            if not self._runs.ledger.book.is_checked(decision):
                await self._take(decision, verified=False)
        except RefusalError as refusal:
            report_refused(args, refusal, "signal")
            self._log(decision, refusal)

    def _log(self, decision: Decision | None, refusal: RefusalError) -> None:
        self._runs.ledger.refuse(decision, refusal, workflow.now())
        self._runs.changed()

    async def _take(self, decision: Decision, *, verified: bool) -> Receipt:
        """Check a decision and record it.

        Args:
            decision: As it came in.
            verified: Its signature has been checked, where the run takes signed decisions only.
        """
        ledger, review = self._runs.ledger, Review(decision, verified=verified)
        ledger.book.remind(workflow.now())
        receipt = self._recorded(decision)
        for check in self._checks.in_order:
            if receipt is None and check.is_needed(review):
                await check.ask(review)
                receipt = self._recorded(decision)  # it may have come a second time meanwhile
        if receipt is None:
            receipt = self._record(review)
        else:
            ledger.note_repeated(decision, workflow.now())
        self._runs.changed()
        return receipt

    def _recorded(self, decision: Decision) -> Receipt | None:
        """Return the receipt of a decision that was recorded before; None where it may be recorded now.

        Raises:
            RefusalError: It may not.
        """
        repeated = self._runs.ledger.receipt_of(decision)
        if repeated is None:
            self._runs.ledger.check(decision, workflow.now())
        return repeated

    def _record(self, review: Review) -> Receipt:
        decision, ledger = review.decision, self._runs.ledger
        edited = edited_by(decision)
        if edited is None:
            return ledger.record(decision, workflow.now())
        if ledger.book.entries[decision.id].request.on_edit == "ask_again":
            return self._ask_again(decision, edited, review.edit)
        return self._accept(decision, edited, review.edit.key)

    def _accept(self, decision: Decision, arguments: JsonObject, key: str | None) -> Receipt:
        """Record an approval with other arguments: the call runs under their digest and their key."""
        entry = self._runs.ledger.book.entries[decision.id]
        _, call = self._runs.frames.call_of(entry.request)
        entry.digest = digest_of(entry.request.binding, arguments)
        call.key = key
        return self._runs.ledger.record(decision, workflow.now())

    def _ask_again(self, decision: Decision, arguments: JsonObject, checked: ArgumentsChecked) -> Receipt:
        """Open a request for edited arguments in the place of the one for the model's."""
        runs, request = self._runs, self._runs.ledger.book.entries[decision.id].request
        frame, call = runs.frames.call_of(request)
        again = requests.after_edit(
            frame,
            call,
            request,
            arguments=arguments,
            rule=checked.approval,
            editor=decision.decided_by,
            identity=runs.identity,
        )
        receipt = runs.ledger.replace(decision, again, workflow.now())
        call.request, call.edited, call.key = again.id, arguments, checked.key
        call.policy = checked.approval or call.policy
        return receipt


def _named(decision: Decision) -> Decision:
    """Refuse an update that does not say who decides; a signal from a bare command line may leave it out."""
    if decision.decided_by is None:
        raise DecisionInvalidError("decided_by is missing: say who decides", request=decision.id)
    return decision
