"""The handlers through which decisions come in, by update or by signal."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio import workflow
from temporalio.common import RawValue

from holdfast.errors import DecisionInvalidError, EditRefusedError, RefusalError
from holdfast.payloads.evaluation import CheckArguments, Evaluated
from holdfast.payloads.json_profile import JsonObject, scrub
from holdfast.payloads.requests import Approve, Decision, DecisionOutcome, Receipt
from holdfast.workflows.asking import digest_of
from holdfast.workflows.budgets import EVALUATION
from holdfast.workflows.doors import only_argument, read_decision, read_shorthand, read_stop, refusal_to_wire
from holdfast.workflows.settle import Done, settle_activity, start_activity
from holdfast.workflows.state import RunState


class Decider:
    """Every handler takes ``*args``: a handler whose arity does not fit the message stops a workflow for ever."""

    def __init__(self, state: RunState) -> None:
        self._state = state

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
            self._state.stop(why)

    async def unknown_signal(self, name: str, args: Sequence[RawValue]) -> None:
        """Every other signal; its arguments stay undecoded."""
        self._log(None, DecisionInvalidError(f"there is no signal {scrub(name[:64])!r} here"))

    # --- the update ---

    def refuse(self, *args: object) -> None:
        """Validate the update `decide`: a refusal leaves no trace in the history."""
        try:
            self._state.ledger.check(_named(read_decision(args)), workflow.now())
        except RefusalError as refusal:
            raise refusal_to_wire(refusal) from None

    async def decide(self, *args: object) -> JsonObject:
        """Update `decide`: record the decision and answer with its receipt."""
        try:
            return (await self._take(_named(read_decision(args)))).to_wire()
        except RefusalError as refusal:
            raise refusal_to_wire(refusal) from None

    # --- the query ---

    def decision(self, *args: object) -> JsonObject:
        """Query `decision`: what became of a decision id."""
        try:
            value = only_argument(args, '{"decision_id"}')
        except RefusalError as refusal:
            raise refusal_to_wire(refusal) from None
        decision_id = value.get("decision_id") if isinstance(value, dict) else value
        if not isinstance(decision_id, str):
            return DecisionOutcome(decision_id="", state="unknown").to_wire()
        return self._state.ledger.outcome(decision_id).to_wire()

    # --- inside ---

    async def _by_signal(self, shorthand: str | None, args: tuple[object, ...]) -> None:
        decision: Decision | None = None
        try:
            decision = read_decision(args) if shorthand is None else read_shorthand(shorthand, args)
            if not self._state.ledger.holds(decision):
                await self._take(decision)
        except RefusalError as refusal:
            self._log(decision, refusal)

    def _log(self, decision: Decision | None, refusal: RefusalError) -> None:
        self._state.ledger.refuse(decision, refusal, workflow.now())
        self._state.ledger_changed()

    async def _take(self, decision: Decision) -> Receipt:
        ledger = self._state.ledger
        repeated = ledger.repeated(decision)
        if repeated is not None:
            return repeated
        ledger.check(decision, workflow.now())
        if isinstance(decision.verdict, Approve) and decision.verdict.arguments is not None:
            await self._check_edit(decision, decision.verdict.arguments)
        receipt = ledger.record(decision, workflow.now())
        self._state.ledger_changed()
        return receipt

    async def _check_edit(self, decision: Decision, arguments: JsonObject) -> None:
        """Hold the request while the tool's schema is asked; leave it open again where the edit is refused."""
        ledger = self._state.ledger
        entry = ledger.hold(decision)
        request = entry.request
        inline, at = self._state.placed(arguments, None)
        arg = CheckArguments(origin=self._state.origin_of(request), tool=request.tool or "", arguments=inline, at=at)
        settled = await settle_activity(
            start_activity(
                "holdfast.evaluate",
                arg.to_wire(),
                f"{request.agent} · checking edited arguments of {request.tool}",
                EVALUATION,
            )
        )
        problem = (
            Evaluated.from_wire(settled.value).problem
            if isinstance(settled, Done)
            else "the arguments could not be checked; try again"
        )
        ledger.release(decision)
        self._state.ledger_changed()
        ledger.check(decision, workflow.now())
        if problem is not None:
            raise EditRefusedError(problem, request=request.id)
        entry.digest = digest_of(
            request.id, request.agent_path, request.tool, arguments, self._state.asker.workflow_run
        )


def _named(decision: Decision) -> Decision:
    """An update says who decides; a signal from a bare command line may leave it out."""
    if decision.decided_by is None:
        raise DecisionInvalidError("decided_by is missing: say who decides", request=decision.id)
    return decision
