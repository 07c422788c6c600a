"""Compute the events of one segment of a run from its history alone. Pure, but for the decoding before it."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable

from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter

from handfast.errors import PayloadInvalidError
from handfast.history.events import facts
from handfast.history.events.carried import carried_loops
from handfast.history.events.fact_reader import FactReader, time_of
from handfast.history.events.facts import Fact, as_object
from handfast.history.events.loop_ends import LoopEnds
from handfast.history.events.loops import CallView, Emitter, LoopView
from handfast.history.events.replies import Replies
from handfast.history.events.requests import Requests
from handfast.history.events.starts import Asked, Starts
from handfast.payloads.evaluation import EVALUATE
from handfast.payloads.events import (
    AgentStarted,
    CallCancelRequested,
    CancelRequested,
    Continued,
    MayHaveHappened,
    RunEvent,
    RunFinished,
    RunStarted,
    StopRequested,
    ToolCalled,
    TurnStarted,
    WorkflowFinished,
    WorkflowRetried,
)
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import ModelReply, Origin
from handfast.payloads.requests import CancelCall, Request
from handfast.payloads.review import REVIEW
from handfast.payloads.runs import OWN_WORKFLOWS, RunInput, RunResult
from handfast.payloads.tool_call import CALL_TYPES, ToolCall
from handfast.payloads.usage import Spent
from handfast.workflows.tasks.await_activity import Done, Ending

MODEL = "handfast.call_model"
ONE_RUN = "AgentRun"
"""The workflow that is one agent's run: its own start and end are the run's."""
TURN_IS_OVER = frozenset({"filter_history", "after_tools", "handle_max_turns"})
"""Evaluations that come when the calls of a turn have their outputs."""


async def project(
    run_id: str, history: AsyncIterable[HistoryEvent], converter: DataConverter
) -> AsyncIterator[RunEvent]:
    """Yield the events of one segment, `Continued` included.

    Args:
        run_id: Temporal's id of the segment.
        history: Its events from the first one on.
        converter: As `handfast.encryption.converter.tolerant` makes it, with the codec that the run was written with.

    Raises:
        HistoryUnreadableError: Its payloads need a codec or a key that *converter* does not have.
    """
    reader, projection = FactReader(converter), Projection(run_id)
    async for event in history:
        fact = await reader.read(event)
        if fact is not None:
            out = Emitter(run_id, event.event_id, time_of(event))
            projection.take(event.event_id, fact, out)
            for each in out.events:
                yield each


class Projection:
    """Computes the events of one segment, fact by fact."""

    def __init__(self, run_id: str) -> None:
        """Begin with nothing.

        Args:
            run_id: Temporal's id of the segment.
        """
        self._run_id = run_id
        self._workflow = ""
        self._continued = False
        self._cancel_reason: str | None = None
        self._sent_since = False
        self._asked: dict[int, Asked] = {}
        self._loops: dict[str, LoopView] = {}
        self._ends = LoopEnds(self._loops)
        self._replies = Replies(self._ends)
        self._starts = Starts(self._ends)
        self._requests = Requests(self._ends)

    def take(self, event_id: int, fact: Fact, out: Emitter) -> None:  # noqa: PLR0912 a case for each kind of fact
        """Add the events of one fact to *out*."""
        match fact:
            case facts.Started():
                self._started(fact, out)
            case facts.Scheduled():
                self._scheduled(event_id, fact, out)
            case facts.Returned(scheduled, value):
                self._returned(scheduled, value, out)
            case facts.Failed():
                self._failed(fact, out)
            case facts.Remembered():
                self._requests.take(fact, out)
                self._ends.settle(out)
            case facts.TaskDone():
                if not self._sent_since:  # the log, which follows, says what became of a message
                    self._ends.settle(out)
                self._sent_since = False
            case facts.Published(status):
                self._requests.published(status, out)
                if status == "idle":
                    self._ends.end_all(out)
            case facts.Received():
                self._received(fact, out)
            case facts.CancelAsked(reason):
                self._cancel_reason = reason
                out.add(CancelRequested, reason=reason or None)
            case facts.ContinuedTo(run_id):
                out.add(Continued, run_id=run_id)
            case facts.Closed(retried_as=retried_as):
                self._closed(fact, out)
                if retried_as is not None:
                    out.add(Continued, run_id=retried_as)

    # --- the start and the end ---

    def _started(self, fact: facts.Started, out: Emitter) -> None:
        self._workflow, self._continued = fact.workflow, fact.continued
        self._ends.tells_roots = fact.workflow not in OWN_WORKFLOWS
        self._requests.carried(fact.memo)
        if fact.continued:
            self._loops.update({loop.frame: loop for loop in carried_loops(fact.arguments)})
        if fact.workflow != ONE_RUN or fact.continued:
            return
        given = as_object(fact.arguments[0] if len(fact.arguments) == 1 else None)
        try:
            start = RunInput.from_wire(given)
        except PayloadInvalidError:  # the run's failure says so
            agent = given.get("agent")
            start = RunInput.model_construct(agent=agent if isinstance(agent, str) else "", input=None)
        loop = self._loops["0"] = LoopView("0", start.agent, [start.agent])
        about = {"labels": start.labels, "requested_by": start.requested_by, "workflow": fact.workflow}
        out.add(RunStarted, **loop.fields(), input=start.input, **about)

    def _closed(self, fact: facts.Closed, out: Emitter) -> None:
        message = self._cancel_reason or None if fact.status == "cancelled" else fact.message
        if fact.cut_off:
            tell_unknown(self._asked.values(), self._requests.doubts(), out)
        if self._workflow != ONE_RUN:
            self._ends.end_all(out, "cancelled" if fact.status == "cancelled" else "ended")
            if fact.retried_as is not None:
                out.add(WorkflowRetried, failure=fact.kind, message=message)
            else:
                out.add(WorkflowFinished, status=fact.status, failure=fact.kind, message=message)
            return
        loop = self._loops.get("0") or LoopView("0", "", [])
        fields = {**loop.fields(), "status": fact.status}
        if fact.status == "completed":
            result = RunResult.from_wire(fact.value)
            ended = {"agent": result.agent, "agent_path": [result.agent], "turn": result.turns}
            said = {"output": result.output, "usage": result.usage, "stopped": result.stopped}
            out.add(RunFinished, **{**fields, **ended}, **said)
            return
        known = fact.details[0] if fact.details else None
        usage = _usage(fact.details[1]) if len(fact.details) > 1 else None
        shown = known if isinstance(known, dict) and known else facts_of(out)
        out.add(RunFinished, **fields, failure=fact.kind, message=message, facts=shown, usage=usage)

    # --- activities ---

    def _scheduled(self, event_id: int, fact: facts.Scheduled, out: Emitter) -> None:
        given = as_object(fact.argument)
        if not fact.type.startswith(facts.OWN):
            asked = self._starts.existing(list(self._loops.values()), fact.type, fact.summary, fact.argument, out)
            if asked is not None:
                self._asked[event_id] = asked
            return
        try:
            origin = Origin.from_wire(given.get("origin"))
        except PayloadInvalidError:
            return  # an activity of a later version
        loop = self._loop(origin, out)
        call = None
        if fact.type == MODEL:
            self._ends.nested_failures(loop, as_object(given.get("failed")), out)
            self._asks_model(loop, origin, out)
        elif fact.type.startswith(CALL_TYPES):
            call = self._starts.tool(loop, ToolCall.from_wire(given), out)
        elif fact.type == EVALUATE:
            if given.get("kind") in TURN_IS_OVER:
                self._ends.finish_turn(loop, origin.agent_path[-1], out)
            call = loop.calls.get(str(given.get("call_id")))
        self._asked[event_id] = Asked(fact.type, loop, given, call)

    def _asks_model(self, loop: LoopView, origin: Origin, out: Emitter) -> None:
        self._ends.take_back(loop, origin.turn, out)
        self._ends.finish_turn(loop, origin.agent_path[-1], out)
        turn = origin.turn + 1
        if turn > loop.asked_turn:
            loop.asked_turn = turn
            out.add(TurnStarted, **loop.fields(turn))

    def _loop(self, origin: Origin, out: Emitter) -> LoopView:
        """Find the loop that an activity belongs to; its first activity begins it."""
        loop = self._loops.get(origin.frame)
        if loop is not None:
            return loop
        path = origin.agent_path or [origin.agent]
        loop = LoopView(origin.frame, path[-1], path, origin.turn, origin.turn, origin.parent, origin.call)
        self._loops[origin.frame] = loop
        if origin.turn > 0:
            return loop  # it began in an earlier segment, which took nothing along that could be read
        if not loop.nested:
            if self._workflow != ONE_RUN:
                out.add(RunStarted, **loop.fields(), workflow=self._workflow)
            return loop
        parent = self._loops.get(origin.parent or "")
        call = parent.calls.get(origin.call or "") if parent is not None else None
        if parent is not None and call is not None:
            call.starts, call.running, call.child = call.starts + 1, True, loop.frame
            more = {"start": call.starts, "repeats": call.repeats}
            out.add(ToolCalled, **parent.fields_of(call), arguments=call.arguments, **more)
        tool = call.tool if call is not None else None
        out.add(AgentStarted, **loop.fields(), parent=origin.parent, call_id=origin.call, tool=tool)
        return loop

    def _returned(self, scheduled: int, value: object, out: Emitter) -> None:
        asked = self._asked.pop(scheduled, None)
        if asked is None:
            return
        if asked.type == REVIEW:
            self._requests.reviewed(asked.argument, value)
            return
        if asked.type != MODEL:
            self._activity_ended(asked, Done(value), out)
            return
        turn = _turn(asked.argument)
        try:
            reply = ModelReply.from_wire(value)
        except PayloadInvalidError:
            return  # of a later version, which this one cannot show
        self._replies.take(asked.loop, turn, reply, bool(asked.argument.get("guard")), out)

    def _failed(self, fact: facts.Failed, out: Emitter) -> None:
        asked = self._asked.pop(fact.scheduled, None)
        if asked is None:
            return
        ending = fact.ending(asked.type)
        if asked.type == MODEL:
            self._replies.failed(asked.loop, _turn(asked.argument), ending, out)
        else:
            self._activity_ended(asked, ending, out)

    def _activity_ended(self, asked: Asked, ending: Ending, out: Emitter) -> None:
        if asked.type == EVALUATE:
            self._starts.evaluated(asked, ending, out)
        elif asked.call is not None:
            self._starts.ended(asked, ending, out)

    # --- messages ---

    def _received(self, fact: facts.Received, out: Emitter) -> None:
        given = as_object(fact.arguments[0] if fact.arguments else None)
        if fact.name == "stop":
            said = fact.arguments[0] if fact.arguments else None
            reason = given.get("reason") if given else said
            out.add(StopRequested, reason=reason if isinstance(reason, str) and reason else None)
        elif fact.name == "cancel_call":
            self._cancels_call(given, out)
        else:
            self._sent_since = self._sent_since or fact.name == "send"
            self._requests.received(fact)

    def _cancels_call(self, given: JsonObject, out: Emitter) -> None:
        try:
            wish = CancelCall.from_wire(given)
        except PayloadInvalidError:
            return
        for loop in self._loops.values():
            call = loop.calls.get(wish.call_id)
            if call is not None and not call.closed and wish.frame in (None, loop.frame):
                call.cancelling = True
        out.add(CallCancelRequested, call_id=wish.call_id, by=wish.by, reason=wish.reason)


def _turn(argument: JsonObject) -> int:
    origin = as_object(argument.get("origin"))
    turn = origin.get("turn")
    return (turn if isinstance(turn, int) else 0) + 1


def _usage(value: object) -> object:
    try:
        return Spent.from_wire(value).usage
    except PayloadInvalidError:
        return None


NEVER_BEGUN = frozenset({"not_begun", "not_registered"})
"""Endings of calls that certainly did not run."""


def tell_unknown(asked: Iterable[Asked], doubts: Iterable[tuple[Request, LoopView, CallView]], out: Emitter) -> None:
    """Add an event for each call whose effect is unknown.

    Args:
        asked: Activities whose end was not recorded.
        doubts: Requests about calls in doubt that were open, with their calls.
        out: Takes the events.
    """
    for each in asked:
        if each.call is not None and each.runs_call and each.effect != "read_only":
            call = each.call
            request = each.argument.get("request") if each.type != call.tool else None
            fields = {"arguments": call.arguments, "request": request if isinstance(request, str) else None}
            out.add(MayHaveHappened, **each.loop.fields_of(call), why="running", **fields)
    for doubt, loop, call in doubts:
        if (doubt.facts or {}).get("ended") not in NEVER_BEGUN:
            fields = {"arguments": doubt.arguments or call.arguments, "request": doubt.id}
            out.add(MayHaveHappened, **loop.fields_of(call), why="in_doubt", **fields)


def facts_of(out: Emitter) -> JsonObject | None:
    """Return the same calls as facts of the run's end; None where there are none."""
    calls = [fact_of(event) for event in out.events if isinstance(event, MayHaveHappened)]
    return {"may_have_happened": calls} if calls else None


def fact_of(event: MayHaveHappened) -> JsonObject:
    """Name the call, and say why its effect is unknown."""
    wire: JsonObject = event.model_dump(mode="json", exclude_none=True, exclude={"type", "offset", "at", "arguments"})
    return wire
