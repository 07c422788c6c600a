"""Ends the calls of one frame: each ending leads somewhere that a person or the model sees."""

from __future__ import annotations

import json
from typing import Final

from temporalio import workflow

from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.mcp import McpAsked, McpChange
from handfast.payloads.model_call import ExistingActivity
from handfast.payloads.requests import ChangedFacts, Difference
from handfast.payloads.tool_call import LostStart, ToolOutcome
from handfast.workflows.driver import existing_activity
from handfast.workflows.driver.frame_loop import FrameLoop
from handfast.workflows.frame.frame import Call, Failure
from handfast.workflows.frame.items import output_item, prefixed, suffixed
from handfast.workflows.frame.withdrawal import WITHHELD
from handfast.workflows.ledger import requests
from handfast.workflows.ledger.ledger import Ledger
from handfast.workflows.ledger.log import WHY_CHARACTERS
from handfast.workflows.loop import next_steps, verdicts
from handfast.workflows.tasks.await_activity import Cancelled, Done, Ending, Failed

MOST_REASKED: Final = 10
"""Most times that a call is asked about again: two programs, one of which approves, could keep a run busy for ever."""
MOST_UNPROVEN: Final = 3
"""Most times in a row that a call turns out not to be proven, before that ends the run."""
RESET: Final = "the run was reset after this was asked about; what was approved before that may have run already"
"""Reason in the request of a person who is asked anew."""


class CallEndings:
    """Ends the calls of one frame."""

    def __init__(self, loop: FrameLoop, ledger: Ledger) -> None:
        """Take the loop of the calls, and the ledger."""
        self._loop = loop
        self._frame = loop.frame
        self._ledger = ledger

    def take(self, call: Call, ending: Ending) -> None:
        """Take the ending of a tool of ours. Its wrapper has made a typed outcome of it."""
        at_most_once = (call.plan.effect or "at_most_once") == "at_most_once"
        match ending:
            case Done(value):
                self._typed(call, ToolOutcome.from_wire(value))
            case Cancelled():
                self.cancelled(call)
            case Failed(not_registered=True):
                self.not_begun(call, missing=True)
            case Failed(type="TimeoutScheduleToStart", timed_out=True):
                self._nobody_took(call)
            case Failed(timed_out=True, begun=False, started=started) if at_most_once:
                if started is not None:
                    call.lost.append(LostStart(run=workflow.info().run_id, event=started))
                self.not_begun(call)
            case Failed(type=kind, message=message, known=known, worker=worker) if at_most_once:
                self._in_doubt(
                    call, {**existing_activity.facts(kind, message, worker), **(known.facts() if known else {})}
                )
            case Failed(message=message):
                self._tool_failed(call, f"The tool failed: {message}")

    def take_existing(self, call: Call, activity: ExistingActivity, ending: Ending) -> None:
        """Take the ending of an activity that exists already. It has no begun mark, and raises what fails."""
        at_most_once = (call.plan.effect or "at_most_once") == "at_most_once"
        match ending:
            case Done(value):
                output, problem = existing_activity.read_result(value)
                if problem is None:
                    self.ran(call, output)
                    self.set_output(call, output)
                else:
                    self._tool_failed(call, problem)
            case Cancelled() if at_most_once and activity.heartbeat_s is None:
                self._in_doubt(call, {"ended": "cancelled", "detail": "it cannot hear of a cancel, and may go on"})
            case Cancelled():
                self.cancelled(call)
            case Failed(not_registered=True):
                self.not_begun(call, missing=True)
            case Failed(type="TimeoutScheduleToStart", timed_out=True):
                self._nobody_took(call)
            case Failed(type=kind, message=message, raised=raised, worker=worker) if at_most_once and (
                not raised or kind in existing_activity.UNSETTLED
            ):
                self._in_doubt(call, existing_activity.facts(kind, message, worker))
            case Failed(type=kind, message=message):
                self._tool_failed(call, existing_activity.error_text(kind, message))

    def _typed(self, call: Call, outcome: ToolOutcome) -> None:
        match outcome.kind:
            case "ok":
                call.context = outcome.context
                if outcome.tripped is not None:  # a conversation that goes on must not read it
                    self.set_output(call, WITHHELD, outcome.block)
                    self._frame.fail(next_steps.guardrail_tripped(call, outcome.tripped))
                    return
                if outcome.artifact is not None:
                    self._frame.artifacts.append(outcome.artifact.sha256)
                if outcome.withheld is None:
                    self.ran(call, outcome.value)
                self.set_output(call, with_refusal(outcome.output, outcome.context_refused), outcome.block)
            case "error":
                self._tool_failed(call, outcome.output, outcome.block)
            case "cancelled":
                self.set_output(call, outcome.output or verdicts.cancelled_text(call), outcome.block)
            case "not_begun":
                self.not_begun(call, missing=bool(outcome.absent), why=outcome.reason if outcome.absent else None)
            case "unknown":
                known = outcome.known.facts() if outcome.known else {}
                told = {"ended": outcome.reason or "unknown", "worker": outcome.worker or "unknown"}
                self._in_doubt(call, {**told, **known})
            case "asked" if outcome.asked is not None:
                self._asked(call, outcome.asked)
            case _:
                self._not_let(call, outcome)

    def _asked(self, call: Call, asked: McpAsked) -> None:
        """Let people answer what the call's MCP server asks; it goes on with the answers."""
        call.asked = asked
        call.state, call.starts, call.missing_since = "asked", 0, None

    def _not_let(self, call: Call, outcome: ToolOutcome) -> None:
        """Take the ending of a call that was held back: what would have run is not what was shown or approved."""
        match outcome.kind:
            case "refused" if outcome.reset is not None:
                call.asked_in = outcome.reset
                self.void(call, Difference(why=RESET))
            case "refused":
                self.mismatch(call, outcome.reason)
            case "unproven":
                self._unproven(call, outcome.reason or "")
            case "changed" if outcome.change is not None:
                self._redefined(call, outcome.change)

    def _redefined(self, call: Call, change: McpChange) -> None:
        """Ask about a call of an MCP tool that is no longer what was shown; it has not run."""
        effect = None if change.effect == "at_most_once" else change.effect
        call.plan = call.plan.model_copy(update={"schema_digest": change.shown.digest, "effect": effect})
        self._frame.definitions[call.tool] = change.shown.definition
        self.void(call, change.difference)

    def _unproven(self, call: Call, why: str) -> None:
        """Ask again about a call that has not run, as no signed decision lets it."""
        ledger, frame = self._ledger, self._frame
        ledger.state.signed = True  # a worker that says so takes signed decisions only
        self._distrust(call, why)
        if call.cancelling is not None or self._loop.work.ending:
            self.cancelled(call)
            return
        call.unproven += 1
        if call.unproven >= MOST_UNPROVEN:
            self._frame.fail(Failure(type="ApprovalUnproven", message=f"{call.tool} was not run: {why}"))
            return
        reason = f"it did not run, as its approval could not be verified: {why}"[:WHY_CHARACTERS]
        if call.proofs is not None and call.proofs.reruns:
            self._ask_doubt(call, reason, {"ended": "unproven"})
            return
        closed = ledger.book.entries.get(call.released_by or "")
        item, former = self._loop.arguments.item_of(frame, call), None if closed is None else closed.request
        request = requests.after_failed_proof(frame, call, item, self._loop.identity, reason=reason, closed=former)
        call.edited, call.arguments = call.arguments, None
        call.released_by, call.digest, call.binding, call.proofs = None, None, None, None
        call.state, call.request = "asking", ledger.book.open(request)

    def _distrust(self, call: Call, why: str) -> None:
        """Forget a standing decision by which a call was released, and which could not be verified."""
        if call.proofs is None or call.proofs.reruns:
            return
        decided_on = {each.id for each in call.proofs.decisions} | {call.released_by or ""}
        self._ledger.distrust(decided_on, self._frame.id, call.call_id, why, workflow.now())

    def ran(self, call: Call, value: JsonValue) -> None:
        """Note that a call ran to its end, with the value that may become the frame's output."""
        call.ok = True
        if self._frame.after_tools is not None:
            call.value = value

    def cancelled(self, call: Call) -> None:
        """Settle a cancelled call that has said nothing."""
        self.set_output(call, verdicts.cancelled_text(call), ran=False)

    def trip(self, call: Call, reason: str) -> None:
        """End the run at the word of an input guardrail."""
        self.set_output(call, verdicts.NOT_RUN, ran=False)
        self._frame.fail(next_steps.guardrail_tripped(call, reason))

    def mismatch(self, call: Call, why: str | None = None) -> None:
        """Fail the run before an effect: the call in hand is not the one that was approved."""
        why = why or "the arguments in hand are not those that were approved"
        self._frame.fail(Failure(type="ApprovalMismatch", message=f"{call.tool} was not run: {why}"))

    def void(self, call: Call, difference: Difference) -> None:
        """Ask anew about a call whose approval no longer holds; it has not run."""
        if call.cancelling is not None:  # alone or with its run: nobody is there to hear an answer
            self.cancelled(call)
        elif call.reasked == MOST_REASKED:
            self._ledger.log.note_void(self._frame.id, call, difference.why, workflow.now(), "give_up")
            self.set_output(call, verdicts.NEVER_HELD, ran=False)
        else:
            self._ask_anew(call, difference)

    def was_shown(self, call: Call, difference: Difference) -> bool:
        """Return whether the approver of the call has seen this very difference: to show it again would never end."""
        if call.released_by is None:
            return False
        approved = self._ledger.book.entries[call.released_by].request
        shown = (approved.facts or {}).get("changed")
        if shown is None or approved.call_id != call.call_id:
            return False
        return Difference.from_wire(shown) == difference

    def _ask_anew(self, call: Call, difference: Difference) -> None:
        """Open a request about a call that was about to run, in place of its approval where it had one."""
        frame = self._frame
        approved = None if call.released_by is None else self._ledger.book.entries[call.released_by]
        by = None if approved is None else approved.closed_by
        facts = ChangedFacts(**difference.model_dump(), request=call.released_by, by=by)
        if approved is not None:
            self._ledger.log.note_void(frame.id, call, facts.why, workflow.now())
        arguments = self._loop.arguments.of(frame, call)
        request = requests.after_change(frame, call, arguments, self._loop.identity, approved=approved, facts=facts)
        call.edited, call.arguments = call.arguments, None
        call.reasked += 1
        call.allowed = False
        call.released_by, call.digest, call.binding, call.proofs = None, None, None, None
        call.state, call.request = "asking", self._ledger.book.open(request)

    def _tool_failed(self, call: Call, output: JsonValue, block: str | None = None) -> None:
        self.set_output(call, output, block)
        if call.plan.on_error == "fail":
            self._frame.fail(Failure(type="ToolFailed", message=f"{call.tool}: {output}"))

    def not_begun(self, call: Call, *, missing: bool = False, why: str | None = None) -> None:
        """Start a call again that has never begun; after `MOST_STARTS` starts, or without a worker, ask a person.

        Args:
            call: Is started again.
            missing: No worker has its tool, or what that needs.
            why: The reason in place of "no worker has this tool".
        """
        if call.cancelling is not None:
            self.cancelled(call)
            return
        now = workflow.now()
        if missing:
            call.missing_since = call.missing_since or now
            held = call.asked is not None and call.asked.held
            patience = next_steps.HELD_PATIENCE if held else next_steps.MISSING_PATIENCE
            if now - call.missing_since < patience:
                call.state = "backoff"
                call.resume_at = now + next_steps.pause_of_missing(call.missing_since, now)
                return
        else:
            call.starts += 1
            if call.starts < next_steps.MOST_STARTS:
                call.state, call.resume_at = "backoff", now + next_steps.delay_of(call.starts - 1)
                return
        if call.asked is not None:
            self._cut_off(call, why or "no worker went on with it")
            return
        ended = "not_registered" if missing and why is None else "not_begun"
        told = why or ("no worker has this tool" if missing else "no worker could start this call")
        self._ask_doubt(call, f"{told}; it has not run", {"ended": ended, "starts": call.starts})

    def _cut_off(self, call: Call, why: str) -> None:
        """Take the ending of a call that had begun, and that nobody can go on with after its MCP server had asked."""
        held = call.asked is not None and call.asked.held
        if held:
            call.asked = None
        if held and call.plan.effect not in (None, "at_most_once"):
            call.state, call.missing_since = "ready", None
            return
        self._in_doubt(call, {"ended": why})

    def _nobody_took(self, call: Call) -> None:
        queue = call.plan.task_queue
        self._ask_doubt(
            call,
            f"no worker took this call from {'task queue ' + queue if queue else 'the task queue'}; it has not run",
            {"ended": "not_begun", "task_queue": queue} if queue else {"ended": "not_begun"},
        )

    def _in_doubt(self, call: Call, facts: JsonObject) -> None:
        """Let the tool find out what became of a call; if it has no `verify`, follow its `on_unknown`."""
        if call.plan.verified and not self._loop.work.ending and facts.get("ended") != "cancelled":
            call.doubt = facts
        else:
            self.unresolved(call, facts)

    def unresolved(self, call: Call, facts: JsonObject) -> None:
        """Follow the tool's `on_unknown` for a call in doubt: ask a person, tell the model, or fail the run."""
        gated = call.released_by is not None
        policy = call.plan.on_unknown or ("ask" if gated else "tell_model")
        if self._loop.work.ending or policy != "ask":
            ended = str(facts.get("ended"))
            self._ledger.log.note_doubt(self._frame.id, call, ended, workflow.now())
        if self._loop.work.ending or policy == "tell_model":
            self.set_output(call, verdicts.OUTCOME_UNKNOWN)
        elif policy == "fail":
            self.set_output(call, verdicts.OUTCOME_UNKNOWN)
            self._frame.fail(Failure(type="OutcomeUnknown", message=f"{call.tool} may or may not have taken effect"))
        else:
            self._ask_doubt(call, "the call began, and how it ended is unknown", facts)

    def _ask_doubt(self, call: Call, reason: str, facts: JsonObject) -> None:
        if self._loop.work.ending:
            return
        frame, book = self._frame, self._ledger.book
        released = None if call.released_by is None else book.entries[call.released_by].request
        item = self._loop.arguments.item_of(frame, call)
        call.state = "asking"
        call.request = book.open(
            requests.for_doubt(frame, call, item, self._loop.identity, reason=reason, facts=facts, released=released)
        )

    def set_output(self, call: Call, output: JsonValue, block: str | None = None, *, ran: bool = True) -> None:
        """Settle a call with its one output, which the model reads when each call of the turn has its own.

        Args:
            call: The call.
            output: A text or content parts.
            block: Id for the output's block; None makes one.
            ran: Whether it may have run: with a person's arguments, the model reads with which.
        """
        if ran and call.arguments is not None:
            edited = json.dumps(call.arguments, ensure_ascii=False)
            output = prefixed(f"A person changed the arguments before this ran; they were {edited}.", output)
        items = [output_item(self._loop.arguments.item_of(self._frame, call), output)]
        call.output = (
            self._loop.transcript.new_block(items) if block is None else self._loop.transcript.add(block, items)
        )
        call.state = "settled"


def with_refusal(output: JsonValue, context_refused: str | None) -> JsonValue:
    """Tell the model with an output why a change of the run's context was not kept."""
    if context_refused is None:
        return output
    return suffixed(output, f"What this tool changed in the run's context was not kept: {context_refused}.")
