"""`AgentHost`: agent loops, the ledger and its handlers, inside any workflow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from handfast.definitions.schema.arguments import problem_of
from handfast.payloads.continuation import SEGMENT_EVENTS, Carry
from handfast.payloads.history import GivenHistory, history_to_wire
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.messages import OnMessage
from handfast.payloads.requests import MEMO_LOG, Transition
from handfast.payloads.runs import RunInput, RunPhase, RunResult
from handfast.workflows.agent_ref import AgentRef, Output, read_output
from handfast.workflows.continuation.archive import archive_segment
from handfast.workflows.continuation.carry import Carrier, restored
from handfast.workflows.conversation.conversation import Conversation
from handfast.workflows.conversation.handlers import SessionSender
from handfast.workflows.driver.driver import Driver
from handfast.workflows.frame.frame import Frame
from handfast.workflows.handlers.cancel_call import CallCanceller
from handfast.workflows.handlers.decide import Decider
from handfast.workflows.handlers.decode import is_continuation, read_start
from handfast.workflows.handlers.queries import Queries
from handfast.workflows.handlers.raise_limits import LimitRaiser
from handfast.workflows.handlers.send import Sender
from handfast.workflows.state.run_state import RunState
from handfast.workflows.state.runs import Runs
from handfast.workflows.state.segment import SegmentState, next_version
from handfast.workflows.state.session_state import SessionState
from handfast.workflows.tasks.intake import Intake
from handfast.workflows.tasks.unread import MessageGuard, decoded, takes_raw

PREFIX: Final = "handfast."
"""Before every handler name of a host inside a user's own workflow."""


class AgentHost:
    """Runs agents inside a user's own workflow.

    Make it in ``@workflow.init``, so that its handlers exist before the first message arrives::

        @workflow.init
        def __init__(self, ticket: Ticket) -> None:
            self.agents = AgentHost()

    Its handlers are those of `AgentRun` with the prefix ``handfast.``, so they collide with nothing of yours.
    """

    def __init__(
        self,
        carried: JsonObject | None = None,
        *,
        prefix: str = PREFIX,
        segment_events: int = SEGMENT_EVENTS,
    ) -> None:
        """Register the handlers.

        Args:
            carried: What `carry` returned in the former history, where the workflow goes on in a fresh one. A workflow
                that is started, and goes on from none, begins without: whoever starts it must not say what was
                approved. So does one that its retry policy begins again: what was done in the history that failed is
                still to be done in its argument, and would be done twice.
            prefix: Before the handlers' names; ours to choose.
            segment_events: Events of the history after which `carry` wants to leave it.

        Raises:
            ApplicationError: Not called in ``@workflow.init`` (type ``HostTooLate``): messages might be lost.
        """
        _assert_in_init()
        begins = carried is not None and not is_continuation()
        if begins and workflow.info().continued_run_id is None:
            workflow.logger.warning("a start brought a carried state, which is not read: it comes from a run before")
            carried, begins = None, False
        if begins or carried is None:
            state = RunState(segment=SegmentState(segment_events=segment_events))
        else:
            state = restored(Carry.from_wire(carried))
        self._runs = Runs(prefix, state)
        if begins:
            self._runs.begin_anew()
        self._carrier = Carrier(self._runs)
        self._driven: set[str] = set()
        self._without_key = 0
        self._idling: asyncio.Task[None] | None = None
        self._prefix = prefix
        runs = self._runs
        self._decider = Decider(runs)
        self._guard = MessageGuard(runs.marks)
        self._intake = Intake(runs.marks, self._guard, runs.state.signals, runs.ledger.book.open_ids, runs.flooded)
        self._register()

    async def run(
        self,
        agent: AgentRef[Output] | str,
        input: str | list[JsonObject],
        *,
        context: JsonObject | None = None,
        max_turns: int | None = None,
        labels: dict[str, str] | None = None,
        requested_by: str | None = None,
        key: str | None = None,
        history: GivenHistory | None = None,
        stream: bool = False,
        on_message: OnMessage | None = None,
        model_queue: str | None = None,
        model: str | None = None,
        model_settings: JsonObject | None = None,
    ) -> RunResult[Output]:
        """Run an agent to its final answer; as often as you like, in parallel too.

        Args:
            agent: By name; it must be known to the workers of this task queue. An `AgentRef` may say as what type its
                output is read.
            input: A text, or items as the Responses API takes them.
            context: The run's context, as the agent's `context_type` reads it.
            max_turns: Most model replies; None takes the agent's own limit.
            labels: Shown in lists across runs.
            requested_by: Who asked for this run: a claimed name.
            key: Names the run within this workflow, so that it goes on in a fresh history: called there with the same
                key, this returns the result of the run that was under way, or of the one that had ended. Runs without
                a key have to end before `carry` returns.
            history: Let the model's provider keep the conversation, see `Handfast.start`.
            model_queue: Task queue of its model calls; None is the workflow's own.
            model: Name of the model for every agent of the run, in place of their own.
            model_settings: Settings that go before those of every agent of the run.
            stream: Tell what the model writes while it writes it; see ``HandfastPlugin(deltas=…)``.
            on_message: What becomes of a message when no model call is to come: it opens a further turn (the default),
                or is refused.

        Raises:
            ApplicationError: A run of this key is under way already (``KeyInUse``), or the run failed; its type says
                how (``StartInvalid``, ``UnknownAgent``, ``ModelRefused``,
                ``OutputInvalid``, …).
            asyncio.CancelledError: The workflow, or the task that awaits this, was cancelled.
        """
        problem = problem_of("agent", agent, AgentRef | str)
        if problem is not None:
            raise ApplicationError(f"AgentHost.run: {problem}", type="StartInvalid", non_retryable=True)
        reader = agent.reader() if isinstance(agent, AgentRef) else None
        if key is not None and (known := self._known_run(key)) is not None:
            return read_output(await self._whole(self._drive(known), key), reader)
        given: dict[str, Any] = {
            "agent": agent.name if isinstance(agent, AgentRef) else agent,
            "input": input,
            "context": context,
            "labels": labels or {},
            "requested_by": requested_by,
            "history": history_to_wire(history),
            "model_queue": model_queue,
            "stream": stream or None,
            "on_message": on_message,
            "model": model,
            "model_settings": model_settings,
        }
        if max_turns is not None:
            given["max_turns"] = max_turns
        start = read_start([given], "AgentHost.run takes an agent's name and a text or items", RunInput)
        return read_output(await self._whole(self.run_input(start, key), key), reader)

    async def run_input(self, given: RunInput, key: str | None = None) -> RunResult:
        """Run an agent from a validated input, as `AgentRun` does."""
        frame = self._runs.begin(given)
        frame.key = key
        if given.segment_events is not None:
            self._runs.segment.after(given.segment_events)
        return await self._drive(frame)

    async def resume(self) -> RunResult:
        """Go on with the one run that was under way in the former history."""
        [frame] = self._runs.frames.driven
        return await self._drive(frame)

    async def carry(self, until: asyncio.Task[Any] | None = None) -> JsonObject | None:
        """Wait until the workflow should go on in a fresh history, and return the state for that.

        That is when the history has become long and no activity of any run is under way; requests may be open. Pass it
        to your own ``workflow.continue_as_new`` at once, and to `AgentHost` there::

            working = asyncio.create_task(self.work())
            carried = await self.agents.carry(until=working)
            if carried is None:
                return working.result()
            workflow.continue_as_new(Ticket(…, carried=carried))

        Args:
            until: The wait is over when this task is; None waits for the moment alone.

        Returns:
            A JSON object; None where *until* ended first.
        """
        ours = not self._prefix

        def may_leave() -> bool:
            finished = workflow.all_handlers_finished() if ours else not self._without_key
            return finished and self._intake.idle

        carried = await self._carrier.carry(lambda: until is not None and until.done(), may_leave)
        return None if carried is None else carried.to_wire()

    def memo(self) -> dict[str, Any]:
        """Return the workflow's memo, for ``workflow.continue_as_new(memo=…)``: it holds the open requests."""
        return {key: value for key, value in workflow.memo().items() if key != MEMO_LOG}

    def _known_run(self, key: str) -> Frame | None:
        """Return the run of a key, which goes on or has ended."""
        found = next((frame for frame in self._runs.frames.all if frame.key == key), None)
        if found is not None and found.id in self._driven:
            message = f"a run of the key {key!r} is under way already"
            raise ApplicationError(message, type="KeyInUse", non_retryable=True)
        return found

    async def _drive(self, frame: Frame) -> RunResult:
        frame.driven = True
        self._driven.add(frame.id)
        # No `finally`: see `AgentRun.run`.
        try:
            result = await Driver(self._runs, frame).run()
        except (ApplicationError, asyncio.CancelledError):
            self._leave(frame)
            raise
        self._leave(frame)
        return result

    async def flush_notifications(self) -> None:
        """Wait, but not for long, until people have been notified: before a workflow of our own closes."""
        await self._runs.notifier.flush()

    async def archive(self) -> None:
        """Have this workflow's history archived, if the workers have an archive: the last thing before it closes.

        For a workflow of our own. In a workflow of yours that happens at the end of each run of an agent.
        """
        await archive_segment(self._runs)

    async def _whole(self, running: Coroutine[Any, Any, RunResult], key: str | None) -> RunResult:
        """Run to the very end of a user's run. One without a key cannot be taken along before its caller has it."""
        self._without_key += key is None
        # No `finally`: see `AgentRun.run`.
        try:
            result = await self._then_archive(running)
        except (ApplicationError, asyncio.CancelledError):
            self._without_key -= key is None
            raise
        self._without_key -= key is None
        return result

    async def _then_archive(self, running: Coroutine[Any, Any, RunResult]) -> RunResult:
        # No `finally`: see `AgentRun.run`.
        try:
            result = await running
        except (ApplicationError, asyncio.CancelledError):
            await self.flush_notifications()
            await archive_segment(self._runs, closes=False)
            raise
        cancelled = await self._runs.notifier.flush()
        if await archive_segment(self._runs, closes=False) or cancelled:
            raise asyncio.CancelledError
        return result

    def _leave(self, frame: Frame) -> None:
        frame.driven = False
        self._driven.discard(frame.id)
        if not self._runs.frames.driven:
            self._drop_signals()
        if self._prefix:
            # Later in this task: the user's code may start the next agent first, and then nothing has changed.
            self._idling = asyncio.create_task(self._publish_idle())

    async def _publish_idle(self) -> None:
        self._runs.publish_if_idle()

    def refuse_other_signals(self) -> None:
        """Log signals of any other name as refused, instead of leaving them unread: for a workflow of our own."""
        self._intake.handle_others(self._decider.unknown_signal)

    def converse(self) -> Conversation:
        """Make this the host of a session, whose messages open turns: for a workflow of our own."""
        session = self._runs.state.session = self._runs.state.session or SessionState()
        conversation = Conversation(self._runs, session)
        sender = SessionSender(self._runs, conversation)
        self._intake.handle("send", sender.send_by_signal)
        self._guard.handle_update("send", sender.send, sender.refuse)
        self._guard.handle_update("take_back", sender.take_back, sender.refuse_to_take_back)
        self._intake.handle("close", sender.close)
        _handle_query("turn", sender.turn)
        return conversation

    async def run_to_end(self, running: asyncio.Task[RunResult]) -> RunResult:
        """Wait for the end of a workflow of our own, or go on in a fresh history when this one has become long."""
        try:
            carried = await self.carry(until=running)
        except asyncio.CancelledError:
            running.cancel()
            return await running
        if carried is not None:
            workflow.continue_as_new({"carried": carried}, memo=self.memo(), initial_versioning_behavior=next_version())
        return await running

    def close(self, how: RunPhase) -> None:
        """Publish the last state of a workflow that ends with its host."""
        self._drop_signals()
        self._runs.close(how)

    # --- inside ---

    def _register(self) -> None:
        name, decider, raiser = self._prefix, self._decider, LimitRaiser(self._runs)
        canceller, sender = CallCanceller(self._runs), Sender(self._runs)
        queries = Queries(self._runs)
        signal, update = self._intake.handle, self._guard.handle_update
        signal(f"{name}approve", decider.approve, decides=True)
        signal(f"{name}reject", decider.reject, decides=True)
        signal(f"{name}decide", decider.decide_by_signal, decides=True)
        signal(f"{name}stop", decider.stop)
        signal(f"{name}send", sender.send_by_signal)
        update(f"{name}decide", decider.decide, decider.refuse)
        update(f"{name}raise_limits", raiser.raise_limits, raiser.refuse)
        update(f"{name}cancel_call", canceller.cancel_call, canceller.refuse)
        update(f"{name}send", sender.send, sender.refuse)
        _handle_query(f"{name}decision", decider.decision)
        _handle_query(f"{name}pending_approvals", queries.pending)
        _handle_query(f"{name}pending_requests", queries.pending)
        _handle_query(f"{name}status", queries.status)
        _handle_query(f"{name}transcript", queries.transcript)

    def _drop_signals(self) -> None:
        """Leave unread what nobody is there for any more: a workflow does not go on for the end of a flood."""
        unread = self._intake.drop()
        if unread:
            why = f"RunEndedError: the run had ended before {unread:,} signals were read"
            self._runs.ledger.log.note(Transition(what="refused", at=workflow.now(), why=why))


def _handle_query(name: str, handler: Callable[..., Any]) -> None:
    def answer(*args: object) -> Any:
        return handler(*decoded(args))

    workflow.set_query_handler(name, takes_raw(answer))


def _assert_in_init() -> None:
    if workflow.instance() is not None:
        raise ApplicationError(
            "make AgentHost in @workflow.init: in run() a message could arrive before its handlers exist",
            type="HostTooLate",
            non_retryable=True,
        )
