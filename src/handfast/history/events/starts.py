"""Events of tool calls and evaluations, as their activities are scheduled and as they end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from handfast.errors import PayloadInvalidError
from handfast.history.events.facts import OWN, TURN_MARK, as_object
from handfast.history.events.loop_ends import LoopEnds
from handfast.history.events.loops import CallView, Emitter, LoopView
from handfast.payloads.base import Payload
from handfast.payloads.evaluation import (
    AfterTools,
    CallGuarded,
    EndingHandled,
    HistoryCompacted,
    Items,
    OutputExtracted,
    Verified,
    Words,
)
from handfast.payloads.events import (
    Compacted,
    GuardrailSpoke,
    ToolAsked,
    ToolCalled,
    ToolCancelled,
    ToolFailed,
    ToolNotRun,
    ToolOutput,
)
from handfast.payloads.guardrails import Judged
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.requests import DEFAULT_REJECTION
from handfast.payloads.tool_call import CALL_TYPES, ToolCall, ToolOutcome
from handfast.workflows.driver import existing_activity
from handfast.workflows.tasks.await_activity import Cancelled, Done, Ending, Failed

PayloadT = TypeVar("PayloadT", bound=Payload)


@dataclass(frozen=True)
class Asked:
    """An activity under way.

    Attributes:
        type: Its type.
        loop: The loop that it belongs to.
        argument: Its argument.
        call: The call that ends with it.
    """

    type: str
    loop: LoopView
    argument: JsonObject
    call: CallView | None = None

    @property
    def runs_call(self) -> bool:
        """True for the call itself, and False for a question about it."""
        return not self.type.startswith(OWN) or self.type.startswith(CALL_TYPES)

    @property
    def effect(self) -> str:
        """The effect of the tool, where it is the call itself."""
        plan = None if self.call is None else self.call.plan
        theirs = None if plan is None else plan.effect
        said = self.argument.get("effect") if self.type.startswith(OWN) else theirs
        return said if isinstance(said, str) else "at_most_once"

    @property
    def kind(self) -> str:
        """The kind of an evaluation; empty for others."""
        return str(self.argument.get("kind", ""))


class Starts:
    """Adds the events of calls, and of the evaluations for them."""

    def __init__(self, ends: LoopEnds) -> None:
        self._ends = ends
        self._answers: dict[str, Callable[[Asked, Ending, Emitter], None]] = {
            "after_tools": self._after_tools,
            "build_input": self._input_built,
            "compact_history": self._compacted,
            "extract_output": self._extracted,
            "guard_call": self._guarded,
            "handle_max_turns": self._ended,
            "handle_refusal": self._ended,
            "input_guardrail": self._judged,
            "output_guardrail": self._judged,
            "verify_call": self._verified,
            "word_failure": self._failure_worded,
            "word_rejection": self._worded,
        }

    # --- tools ---

    def tool(self, loop: LoopView, given: ToolCall, out: Emitter) -> CallView:
        """Take the activity of a tool that was scheduled."""
        call = loop.call(given.call_id, given.tool)
        arguments = given.arguments
        if arguments is None and given.at is not None and given.at.block == loop.reply:
            arguments = call.arguments
        self._started(loop, call, arguments, given.request, out)
        return call

    def existing(self, loops: list[LoopView], kind: str, summary: str, argument: object, out: Emitter) -> Asked | None:
        """Take an activity of the user's that was scheduled: for a call, or by the workflow's own code."""
        fitting = [
            (loop, call)
            for loop in loops
            for call in loop.open_calls()
            if not call.running
            and call.plan is not None
            and call.plan.activity is not None
            and call.plan.activity.type == kind
            and summary == f"{loop.agent}{TURN_MARK}{loop.turn} · {call.tool}"
        ]
        if not fitting:
            return None
        loop, call = next((each for each in fitting if _fits(each[1], argument)), fitting[0])
        shown = as_object(argument)
        self._started(loop, call, shown if isinstance(argument, dict) else call.arguments, None, out)
        return Asked(kind, loop, shown, call)

    def _started(
        self, loop: LoopView, call: CallView, arguments: JsonObject | None, request: str | None, out: Emitter
    ) -> None:
        call.starts, call.running = call.starts + 1, True
        more = {"start": call.starts, "request": request, "repeats": call.repeats}
        out.add(ToolCalled, **loop.fields_of(call), arguments=arguments, **more)

    def ended(self, asked: Asked, ending: Ending, out: Emitter) -> None:
        """Take the end of a call's activity."""
        loop, call = asked.loop, asked.call
        assert call is not None
        call.running = False
        if isinstance(ending, Done):
            if call.plan is not None and call.plan.activity is not None:
                self._existing_returned(loop, call, ending.value, out)
            else:
                self._outcome(loop, call, ending.value, out)
        elif isinstance(ending, Cancelled):
            out.add(ToolCancelled, **loop.fields_of(call))
            self._ends.close(loop, call)
        else:
            effect = (
                asked.argument.get("effect") if call.plan is None or call.plan.activity is None else call.plan.effect
            )
            self._failed(loop, call, ending, effect in ("read_only", "idempotent"), out)

    def _outcome(self, loop: LoopView, call: CallView, value: object, out: Emitter) -> None:
        try:
            outcome = ToolOutcome.from_wire(value)
        except PayloadInvalidError:
            out.add(ToolFailed, **loop.fields_of(call), why="unknown", message="its outcome cannot be read")
            return
        fields = loop.fields_of(call)
        match outcome.kind:
            case "ok":
                size, artifact = outcome.bytes, outcome.artifact
                out.add(ToolOutput, **fields, output=outcome.output, bytes=size, artifact=artifact)
                if outcome.tripped is not None:
                    fail = {"kind": "tool_output", "outcome": "fail", "reason": outcome.tripped}
                    out.add(GuardrailSpoke, **fields, **fail)
                    self._tripped(loop, call, outcome.tripped, out)
                elif outcome.withheld is not None:
                    out.add(GuardrailSpoke, **fields, kind="tool_output", outcome="replace")
                ran = outcome.withheld is None
                self._ends.close(loop, call, ok=ran, value=outcome.value if ran else None)
            case "error":
                self._ends.failed(loop, call, outcome.output, out, outcome.reason)
            case "cancelled":
                out.add(ToolCancelled, **fields, output=outcome.output)
                self._ends.close(loop, call)
            case "asked":
                out.add(ToolAsked, **fields)
            case "not_begun" | "unknown" | "refused" | "unproven" | "changed":
                out.add(ToolFailed, **fields, why=outcome.kind, message=outcome.reason)

    def _existing_returned(self, loop: LoopView, call: CallView, value: object, out: Emitter) -> None:
        output, problem = existing_activity.read_result(value)
        if problem is None:
            out.add(ToolOutput, **loop.fields_of(call), output=output)
            self._ends.close(loop, call, ok=True, value=output)
        else:
            self._ends.failed(loop, call, problem, out)

    def _failed(self, loop: LoopView, call: CallView, ending: Failed, repeatable: bool, out: Emitter) -> None:
        theirs = call.plan is not None and call.plan.activity is not None
        fields, message = loop.fields_of(call), ending.message
        if ending.not_registered or ending.type == "TimeoutScheduleToStart":
            out.add(ToolFailed, **fields, why="not_begun", message=message)
        elif theirs and ending.raised and (repeatable or ending.type not in existing_activity.UNSETTLED):
            self._ends.failed(loop, call, existing_activity.error_text(ending.type, message), out)
        elif not repeatable and not theirs and ending.timed_out and not ending.begun:
            out.add(ToolFailed, **fields, why="not_begun", message=message)
        elif not repeatable:
            out.add(ToolFailed, **fields, why="unknown", message=message)
        else:
            why = "timeout" if ending.timed_out else "error"
            out.add(ToolFailed, **fields, why=why, output=f"The tool failed: {message}", message=ending.type)
            self._ends.close(loop, call)

    # --- evaluations ---

    def evaluated(self, asked: Asked, ending: Ending, out: Emitter) -> None:
        """Take the end of an evaluation."""
        taken = self._answers.get(asked.kind)
        if taken is not None:
            taken(asked, ending, out)

    def _judged(self, asked: Asked, ending: Ending, out: Emitter) -> None:
        loop, about = asked.loop, str(asked.argument.get("kind", "")).removesuffix("_guardrail")
        judged = _answer_of(Judged, ending) or Judged(outcome="error", reason=_problem(ending))
        origin = as_object(asked.argument.get("origin"))
        fields = {**loop.fields(), "agent": origin.get("agent", loop.agent)}
        name, said = asked.argument.get("guardrail"), {"reason": judged.reason, "info": judged.info}
        out.add(GuardrailSpoke, **fields, guardrail=name, kind=about, outcome=judged.outcome, **said)
        if f"{about} {name}" in loop.guards:  # others look at a message, and end no run
            loop.guards.remove(f"{about} {name}")
        elif about == "input":
            return
        if judged.outcome in ("fail", "error"):
            failure = "GuardrailTripped" if judged.outcome == "fail" else "GuardrailFailed"
            self._ends.end(loop, "failed", out, failure=failure, message=judged.reason)
            return
        if judged.outcome == "replace" and about == "output":
            loop.output = judged.value

    def _guarded(self, asked: Asked, ending: Ending, out: Emitter) -> None:
        loop, call = asked.loop, asked.call
        answer = _answer_of(CallGuarded, ending)
        if answer is None or call is None:
            return
        fields = {**loop.fields_of(call), "kind": "tool_input"}
        if answer.problem is not None:
            out.add(GuardrailSpoke, **fields, outcome="fail", reason=answer.problem)
            self._tripped(loop, call, answer.problem, out)
        elif answer.text is not None:
            out.add(GuardrailSpoke, **fields, outcome="replace")
            out.add(ToolNotRun, **loop.fields_of(call), why="blocked", output=answer.text)
            self._ends.close(loop, call)

    def _tripped(self, loop: LoopView, call: CallView, reason: str, out: Emitter) -> None:
        self._ends.end(loop, "failed", out, failure="GuardrailTripped", message=f"{call.tool}: {reason}")

    def _worded(self, asked: Asked, ending: Ending, out: Emitter) -> None:
        if asked.call is None or asked.call.closed:
            return
        answer = _answer_of(Words, ending)
        text = DEFAULT_REJECTION if answer is None or answer.text is None else answer.text
        by = asked.argument.get("decided_by")
        out.add(ToolNotRun, **asked.loop.fields_of(asked.call), why="rejected", output=text, by=by)
        self._ends.close(asked.loop, asked.call)

    def _verified(self, asked: Asked, ending: Ending, out: Emitter) -> None:
        loop, call, answer = asked.loop, asked.call, _answer_of(Verified, ending)
        if call is None or call.closed or answer is None or answer.verified != "ran":
            return
        out.add(ToolOutput, **loop.fields_of(call), output=answer.output, by="verify")
        self._ends.close(loop, call, ok=True, value=answer.output)

    def _input_built(self, asked: Asked, ending: Ending, out: Emitter) -> None:
        answer = _answer_of(Items, ending)
        if answer is None or answer.items is None:
            self._nested_failed(asked, None if answer is None else answer.problem, answer, ending, out)

    def _extracted(self, asked: Asked, ending: Ending, out: Emitter) -> None:
        loop, call, answer = asked.loop, asked.call, _answer_of(OutputExtracted, ending)
        if answer is None or answer.problem is not None:
            self._nested_failed(asked, None if answer is None else answer.problem, answer, ending, out)
        elif call is not None and not call.closed:
            out.add(ToolOutput, **loop.fields_of(call), output=answer.output)
            self._ends.close(loop, call, ok=True, value=answer.output)

    def _failure_worded(self, asked: Asked, ending: Ending, out: Emitter) -> None:
        answer = _answer_of(Words, ending)
        self._nested_failed(asked, None if answer is None else answer.text, answer, ending, out)

    def _nested_failed(
        self, asked: Asked, output: JsonValue, answer: Payload | None, ending: Ending, out: Emitter
    ) -> None:
        if asked.call is not None and not asked.call.closed:
            self._ends.failed(asked.loop, asked.call, output, out, None if answer is not None else _problem(ending))

    def _compacted(self, asked: Asked, ending: Ending, out: Emitter) -> None:
        answer = _answer_of(HistoryCompacted, ending)
        why = _problem(ending) if answer is None else answer.problem
        block = answer.block if answer is not None and answer.items else None
        if block is not None or why is not None:
            out.add(Compacted, **asked.loop.fields(), block=block, why=why)

    def _ended(self, asked: Asked, ending: Ending, out: Emitter) -> None:
        answer = _answer_of(EndingHandled, ending)
        if answer is not None and answer.closing is not None:
            self._ends.answer(asked.loop, answer.closing.output)

    def _after_tools(self, asked: Asked, ending: Ending, out: Emitter) -> None:
        answer = _answer_of(AfterTools, ending)
        if answer is None:
            return
        if answer.final:
            self._ends.answer(asked.loop, answer.output)
        elif answer.problem is not None:
            self._ends.end(asked.loop, "failed", out, failure="AfterToolsFailed", message=answer.problem)


def _fits(call: CallView, argument: object) -> bool:
    key = call.plan.activity.key_field if call.plan is not None and call.plan.activity is not None else None
    plain = {name: value for name, value in as_object(argument).items() if name != key}
    return plain == (call.arguments or {})


def _answer_of(kind: type[PayloadT], ending: Ending) -> PayloadT | None:
    if not isinstance(ending, Done):
        return None
    try:
        return kind.from_wire(ending.value)
    except PayloadInvalidError:
        return None


def _problem(ending: Ending) -> str | None:
    return ending.message if isinstance(ending, Failed) else "it was cancelled"
