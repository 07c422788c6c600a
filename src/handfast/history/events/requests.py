"""Events of the ledger's log: requests, decisions, and messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from handfast.errors import PayloadInvalidError, RefusalError
from handfast.history.events.facts import Received, Remembered, as_object
from handfast.history.events.loop_ends import LoopEnds
from handfast.history.events.loops import CallView, Emitter, LoopView
from handfast.history.events.messages import ABOUT, Messages
from handfast.payloads.events import (
    ApprovalVoided,
    DecisionRemembered,
    DecisionRepeated,
    EffectVerified,
    InDoubt,
    LimitsExtended,
    NotificationFailed,
    RequestDecided,
    RequestEdited,
    RequestEscalated,
    RequestExpired,
    RequestOpened,
    RequestRefused,
    RequestReminded,
    RequestReviewed,
    RequestVoted,
    RequestWithdrawn,
    StatusChanged,
    ToolCancelled,
    ToolFailed,
    ToolNotRun,
    ToolOutput,
)
from handfast.payloads.json_profile import JsonValue
from handfast.payloads.requests import (
    DEFAULT_REJECTION,
    NOBODY_ANSWERED,
    NOT_ANSWERED,
    Answer,
    Approve,
    Decision,
    Ran,
    Reject,
    Request,
    Transition,
)
from handfast.payloads.review_call import ReviewCall, Reviewed, decision_of
from handfast.payloads.runs import RunPhase
from handfast.payloads.tool_call import INLINE_ARGUMENTS_BYTES
from handfast.workflows.handlers.decode import read_decision, read_shorthand
from handfast.workflows.loop.verdicts import NEVER_HELD, NOT_RUN, OUTCOME_UNKNOWN, as_output

LATE: Final = "Nobody decided in time."


class Requests:
    """Adds the events of requests and decisions.

    Attributes:
        open: Requests that wait, by id.
        status: That was told last.
    """

    def __init__(self, ends: LoopEnds) -> None:
        self._ends = ends
        self._seen: dict[str, Request] = {}
        self._said: dict[str, list[Decision]] = {}
        self._reviewed: dict[str, Reviewed] = {}
        self._messages = Messages(ends.loops)
        self.open: set[str] = set()
        self.status: RunPhase = "running"

    def carried(self, memo: dict[str, Any]) -> None:
        """Take over what was open when the segment began."""
        for request_id, value in memo.items():
            self._take(request_id, value)
        self.status = self._now

    def doubts(self) -> Iterator[tuple[Request, LoopView, CallView]]:
        """The open requests about calls in doubt, with their calls."""
        for request in self._seen.values():
            if request.id in self.open and request.kind == "in_doubt":
                loop, call = self._call(request)
                if loop is not None and call is not None:
                    yield request, loop, call

    def received(self, message: Received) -> None:
        """Keep the content of a signal or update: the log names it, and does not repeat it."""
        try:
            if message.name == "decide":
                decision = read_decision(message.arguments)
            elif message.name in ("approve", "reject"):
                decision = read_shorthand(message.name, message.arguments)
            elif message.name == "send":
                self._messages.received(as_object(message.arguments[0] if message.arguments else None))
                return
            else:
                return
        except RefusalError:
            return
        self._said.setdefault(decision.id, []).append(decision)

    def reviewed(self, argument: object, answer: object) -> None:
        """Keep what a reviewer said: the log, which follows, says what comes of it."""
        try:
            asked, said = ReviewCall.from_wire(argument), Reviewed.from_wire(answer)
        except PayloadInvalidError:
            return  # of a later version
        self._reviewed[asked.request.id] = said
        if said.verdict in ("approve", "reject"):
            self._said.setdefault(asked.request.id, []).append(decision_of(asked.request, said.verdict, said.reason))

    def published(self, status: str, out: Emitter) -> None:
        """Add a change of the status; without the search attribute nobody would know that there is nothing to do."""
        if status in ("idle", "running", "waiting"):
            self._told("idle" if status == "idle" else self._now, out)

    @property
    def _now(self) -> RunPhase:
        return "waiting" if self.open else "running"

    def _told(self, status: RunPhase, out: Emitter) -> None:
        if status != self.status:
            self.status = status
            out.add(StatusChanged, status=status, pending=len(self.open))

    def take(self, news: Remembered, out: Emitter) -> None:
        """Add the events of one change of the memo."""
        for request_id, value in news.requests.items():
            self._take(request_id, value)
        for entry in news.log:
            if as_object(entry).get("what") in ABOUT:
                self._messages.take(as_object(entry), out)
                continue
            try:
                step = Transition.from_wire(entry)
            except PayloadInvalidError:
                kind = as_object(entry).get("what")
                if isinstance(kind, str):  # of a later version
                    out.unknown(kind, as_object(entry))
                continue
            self._step(step, out)
        self._told(self._now, out)

    def _take(self, request_id: str, value: object) -> None:
        if value is None:
            self.open.discard(request_id)
            return
        try:
            self._seen[request_id] = Request.from_wire(value)
        except PayloadInvalidError:
            return  # of a later version
        self.open.add(request_id)

    # --- one step of the ledger ---

    def _step(self, step: Transition, out: Emitter) -> None:  # noqa: PLR0912 a case for each kind of step
        request = self._seen.get(step.request or "")
        fields = {**_about(request), "request": step.request, "by": step.by, "verdict": step.verdict, "why": step.why}
        fields["signed_by"] = step.signed_by
        decision = self._decision(step)
        match step.what:
            case "opened":
                if request is not None:
                    shown = self._whole(request)
                    out.add(RequestOpened, **_place(request), request=shown)
            case "voted":
                out.add(RequestVoted, **fields)
            case "edited":
                edited = decision.verdict.arguments if decision and isinstance(decision.verdict, Approve) else None
                out.add(RequestEdited, **fields, arguments=edited, decision_id=step.decision_id)
            case "voided":
                self._voided(step, fields, out)
            case "decided":
                self._decided(step, request, decision, fields, out)
            case "expired":
                out.add(RequestExpired, **{**fields, "verdict": None}, on_deadline=step.verdict)
                if request is not None:
                    self._expired(request, step.verdict, out)
            case "reviewed":
                out.add(RequestReviewed, **fields, confidence=step.confidence, left=step.left, **self._review(step))
            case "reminded":
                out.add(RequestReminded, **fields, due=step.due)
            case "escalated":
                out.add(RequestEscalated, **fields, due=step.due, approvers=step.approvers)
            case "notify_failed":
                out.add(NotificationFailed, **fields)
            case "withdrawn":
                out.add(RequestWithdrawn, **fields)
                self._withdrawn(request, out)
            case "repeated":
                out.add(DecisionRepeated, **fields, decision_id=step.decision_id)
            case "refused":
                out.add(RequestRefused, **fields, decision_id=step.decision_id)
            case "remembered":
                self._remembered(step, fields, out)
            case "in_doubt":
                out.add(InDoubt, frame=step.frame, why=step.why or "")
                self._closed(step, out)
            case "verified":
                out.add(EffectVerified, verdict=step.verdict, frame=step.frame, call_id=step.call, why=step.why or "")
            case "limits_raised":
                out.add(LimitsExtended, frame=step.frame, by=step.by, why=step.why or "")
            case "compacted" | "compaction_failed":
                pass  # the activity that did it told so
            case _:
                out.unknown(step.what, step.to_wire())

    def _expired(self, request: Request, default: str | None, out: Emitter) -> None:
        loop, _ = self._call(request)
        if default == "reject" and request.of_server:
            return  # the call goes on: its server hears that nobody answered
        if default == "reject":
            text = NOBODY_ANSWERED if request.kind == "question" else LATE
            self._not_run(request, "expired", text, None, out)
        elif default == "give_up":
            self._given_up(request, out)
        elif default == "fail" and loop is not None:
            late = f"nobody decided on {request.tool} before its deadline"
            self._ends.end(loop, "failed", out, failure="DeadlineExpired", message=late)

    def _decided(
        self, step: Transition, request: Request | None, decision: Decision | None, fields: dict[str, Any], out: Emitter
    ) -> None:
        verdict = decision.verdict if decision is not None else None
        given: dict[str, Any] = {}
        if isinstance(verdict, Approve):
            given["arguments"] = verdict.arguments
        elif isinstance(verdict, Answer | Ran):
            given["output"] = verdict.output
        out.add(RequestDecided, **fields, **given, decision_id=step.decision_id, remember=step.remember)
        if request is None:
            return
        loop, call = self._call(request)
        if loop is None or call is None or call.closed or request.of_server:
            return
        match step.verdict:
            case "reject":
                self._rejected(request, verdict, step.by, out)
            case "answer" | "ran":
                output = as_output(given.get("output"))
                out.add(ToolOutput, **loop.fields_of(call), output=output, by=step.by)
                self._ends.close(loop, call, ok=step.verdict == "ran", value=given.get("output"))
            case "give_up":
                self._given_up(request, out)

    def _given_up(self, request: Request, out: Emitter) -> None:
        loop, call = self._call(request)
        if loop is None or call is None or call.closed:
            return
        never = (request.facts or {}).get("ended") in ("not_registered", "not_begun")
        text, why = (NOT_RUN, "not_begun") if never else (OUTCOME_UNKNOWN, "unknown")
        out.add(ToolFailed, **loop.fields_of(call), why=why, output=text)
        self._ends.close(loop, call)

    def _rejected(self, request: Request, verdict: object, by: str | None, out: Emitter) -> None:
        _, call = self._call(request)
        reason = verdict.reason if isinstance(verdict, Reject) else None
        if reason is None and call is not None and call.plan is not None and call.plan.worded:
            return  # the agent words it: an evaluation is to follow
        default: JsonValue = NOT_ANSWERED if request.kind == "question" else DEFAULT_REJECTION
        unsure = call is None or call.plan is None or not isinstance(verdict, Reject)
        self._not_run(request, "rejected", reason if reason is not None or unsure else default, by, out)

    def _remembered(self, step: Transition, fields: dict[str, Any], out: Emitter) -> None:
        loop = self._ends.loops.get(step.frame or "")
        call = loop.calls.get(step.call or "") if loop is not None else None
        place = {**loop.fields_of(call)} if loop is not None and call is not None else {}
        out.add(DecisionRemembered, **{**fields, "kind": "approval", **place}, remember=step.remember)
        if loop is None or call is None or step.verdict != "reject" or (call.plan is not None and call.plan.worded):
            return
        out.add(ToolNotRun, **loop.fields_of(call), why="rejected", by=step.by)
        self._ends.close(loop, call)

    def _voided(self, step: Transition, fields: dict[str, Any], out: Emitter) -> None:
        loop = self._ends.loops.get(step.frame or "")
        call = loop.calls.get(step.call or "") if loop is not None else None
        place = {**loop.fields_of(call)} if loop is not None and call is not None else {}
        out.add(ApprovalVoided, **{"kind": "approval", **fields, **place})
        if step.verdict == "give_up" and loop is not None and call is not None and not call.closed:
            out.add(ToolNotRun, **loop.fields_of(call), why="changed", output=NEVER_HELD)
            self._ends.close(loop, call)

    def _withdrawn(self, request: Request | None, out: Emitter) -> None:
        loop, call = self._call(request) if request is not None else (None, None)
        if loop is not None and call is not None and not call.closed:
            out.add(ToolCancelled, **loop.fields_of(call))
            self._ends.close(loop, call)

    def _not_run(self, request: Request, why: str, output: JsonValue, by: str | None, out: Emitter) -> None:
        loop, call = self._call(request)
        if loop is not None and call is not None and not call.closed:
            out.add(ToolNotRun, **loop.fields_of(call), why=why, output=output, by=by)
            self._ends.close(loop, call)

    def _closed(self, step: Transition, out: Emitter) -> None:
        loop = self._ends.loops.get(step.frame or "")
        call = loop.calls.get(step.call or "") if loop is not None else None
        if loop is not None and call is not None and not call.closed:
            self._ends.close(loop, call)

    def _review(self, step: Transition) -> dict[str, Any]:
        said = self._reviewed.get(step.request or "")
        if said is None:
            return {}
        spent = said.spent
        cost = {} if spent is None else {"usage": spent.usage, "model": spent.model}
        return {"sampled": said.sampled, "messages": said.messages, **cost}

    # --- parts of a request ---

    def _decision(self, step: Transition) -> Decision | None:
        said = self._said.get(step.request or "", [])
        for decision in reversed(said):
            same = decision.decision_id == step.decision_id and decision.decided_by == step.by
            if same and decision.verdict.kind == step.verdict:
                return decision
        return None

    def _call(self, request: Request) -> tuple[LoopView | None, CallView | None]:
        loop = self._ends.loops.get(request.frame)
        if loop is None:
            loop = self._ends.loops[request.frame] = LoopView(
                request.frame, request.agent, request.agent_path, request.turn, request.turn
            )
        if request.call_id is None or request.tool is None:
            return loop, None
        return loop, loop.call(request.call_id, request.tool)

    def _whole(self, request: Request) -> Request:
        """Complete the arguments of a request, where the memo had room for their start only."""
        size = request.arguments_bytes
        if request.arguments is not None or size is None or size > INLINE_ARGUMENTS_BYTES or request.editors:
            return request
        _, call = self._call(request)
        if call is None or call.arguments is None:
            return request
        update = {"arguments": call.arguments, "arguments_preview": None, "arguments_bytes": None}
        return request.model_copy(update=update)


def _place(request: Request) -> dict[str, Any]:
    return {
        "frame": request.frame,
        "agent": request.agent,
        "agent_path": request.agent_path,
        "turn": request.turn,
    }


def _about(request: Request | None) -> dict[str, Any]:
    if request is None:
        return {}
    return {**_place(request), "kind": request.kind, "call_id": request.call_id, "tool": request.tool}
