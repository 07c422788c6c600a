"""Drives one frame: starts what is missing, waits for what comes, and writes it into the frame."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from handfast.payloads.base import json_size
from handfast.payloads.runs import RunResult
from handfast.payloads.usage import Spent, Usage
from handfast.workflows.driver.compaction import Compaction
from handfast.workflows.driver.endings import CallEndings
from handfast.workflows.driver.frame_loop import FrameLoop
from handfast.workflows.driver.guardrails import Guardrails
from handfast.workflows.driver.handoffs import Handoffs
from handfast.workflows.driver.last_words import LastWords
from handfast.workflows.driver.model_calls import ModelCalls
from handfast.workflows.driver.nested_agents import NestedAgents
from handfast.workflows.driver.shared_context import SharedContext
from handfast.workflows.driver.tool_calls import ToolCalls
from handfast.workflows.driver.turn_end import TurnEnd
from handfast.workflows.driver.verification import Verification
from handfast.workflows.frame.frame import Call, Failure, Frame
from handfast.workflows.frame.items import text_of_reply
from handfast.workflows.ledger import binding, requests
from handfast.workflows.loop import guardrails, limits, messages, next_steps, steps, verdicts
from handfast.workflows.state.runs import Runs
from handfast.workflows.tasks.command_budget import NEXT_TASK
from handfast.workflows.tasks.work import Work

RESULT_BYTES: Final = 2_000_000
"""Most bytes of a run's result: above 2 MiB the workflow could never complete."""


class Driver:
    """Drives one frame: takes the steps that its loop asks for, and waits for what comes.

    It owns the activities of its frame; everything that has to last is in the frame itself.
    """

    def __init__(self, runs: Runs, frame: Frame) -> None:
        """Make the parts for *frame*, one of the frames of *runs*."""
        self._runs = runs
        self._frame = frame
        self._work = runs.works[frame.id] = Work(runs.marks)
        self._frames = runs.frames
        self._ledger = runs.ledger
        self._mailbox = runs.mailbox
        self._arguments = runs.arguments
        loop = FrameLoop(frame, self._work, runs.identity, runs.transcript, runs.arguments)
        endings = self._endings = CallEndings(loop, runs.ledger)
        self._context = SharedContext(loop, runs.frames)
        self._last_words = LastWords(loop)
        self._compaction = Compaction(loop, runs.spending, runs.ledger.log)
        self._guardrails = Guardrails(loop, runs.budget, runs.mailbox)
        self._turn_end = TurnEnd(loop)
        self._handoffs = Handoffs(loop, runs.ledger.log, endings)
        self._model_calls = ModelCalls(
            loop, runs.ledger, runs.mailbox, runs.spending, runs.state.deployment, last_words=self._last_words
        )
        self._tool_calls = ToolCalls(
            loop,
            runs.ledger.state,
            runs.budget,
            endings=endings,
            verification=Verification(loop, runs.ledger.log, endings),
        )
        self._nested = NestedAgents(
            loop,
            runs.frames,
            runs.ledger,
            runs.mailbox,
            endings=endings,
            drive=self._drive_child,
        )
        self._timer: tuple[datetime, asyncio.Task[None]] | None = None

    async def run(self) -> RunResult:
        """Drive the frame to its end.

        Raises:
            ApplicationError: The run failed; its type says how.
            asyncio.CancelledError: Cancelled; everything open has been withdrawn and every tool has ended.
        """
        frame = self._frame
        await self.drive()
        if frame.failure is not None:
            raise failed(frame.failure, self._frames.usage_of(frame))
        result = RunResult(
            output=frame.output,
            agent=frame.agent,
            turns=frame.turn,
            usage=self._frames.usage_of(frame),
            stopped=frame.stop,
            response_id=frame.response_id,
            guardrails=self._frames.guardrails_of(frame),
        )
        if (size := json_size(result.to_wire())) > RESULT_BYTES:
            raise failed(too_large(frame, size), self._frames.usage_of(frame))
        return self._runs.spending.added_to(self._context.added_to(result), self._frames.under(frame))

    async def drive(self) -> None:
        """Drive the frame until it has finished or failed.

        Raises:
            asyncio.CancelledError: As `run`.
        """
        frame = self._frame
        self._runs.marks.note_input()
        for call in frame.calls:
            if call.state == "running" and call.child is not None:
                self._work.spawn(self._nested.run(call))  # its loop was under way in a former history
        try:
            while True:
                self._advance()
                if frame.failure is not None:
                    await self._abandon("the run failed")
                    return
                if frame.phase == "finished":
                    break
                await self._wait()
        except asyncio.CancelledError:
            await self._abandon("the run was cancelled")
            frame.fail(Failure(type="Cancelled", message="it was cancelled"))  # nothing can be raised or stopped in it
            raise
        self._set_timer(None)
        # Nobody waits for what may be left: an answer about a message, say.
        self._runs.works[frame.id] = Work(self._runs.marks)

    async def _drive_child(self, child: Frame) -> None:
        await Driver(self._runs, child).drive()

    # --- the loop ---

    def _advance(self) -> None:
        """Take steps until none is left."""
        self._tick()
        self._ledger.book.take_due(workflow.now())
        self._ledger.answer_siblings(workflow.now())
        while True:
            taken = [step for step in self._next_steps() if not self._is_held(step)]
            for step in taken:
                self._take(step)
            if not taken:
                break
        self._tick()
        self._runs.publish()

    def _tick(self) -> None:
        """Update the clocks of the frame and of those above it, where a limit of time needs them."""
        for each in self._frames.above(self._frame):
            if each.max_seconds is not None or not each.limit_known:
                limits.tick(each, workflow.now(), resting=self._rests(each))

    def _rests(self, top: Frame) -> bool:
        """Return whether a frame, with everything below it, does nothing but wait for people."""
        frames = {frame.id for frame in self._frames.under(top)}
        works = self._runs.works
        busy = any(not works[each].quiet for each in frames if each in works)
        return not busy and any(request.frame in frames for request in self._ledger.book.open_requests())

    def _is_held(self, step: steps.Step) -> bool:
        """Return whether a step has to wait for a fresh history, as it would start something."""
        asks = self._frame.after_tools is not None and self._frame.after_tools.kind == "ask"
        starts = asks if isinstance(step, steps.FinishTurn) else not isinstance(step, steps.AT_ONCE)
        return starts and self._runs.segment.holds

    def _next_steps(self) -> list[steps.Step]:
        frame = self._frame
        spent = self._frames.usage_of(frame) if limits.counts_usage(frame) else Usage()
        return next_steps.next_steps(frame, self._ledger.book.entries, workflow.now(), spent)

    def _take(self, step: steps.Step) -> None:
        METHODS[type(step)](self, step)

    def _call_model(self, _: steps.CallModel) -> None:
        self._frame.phase = "thinking"
        costs = any(map(limits.counts_cost, self._frames.above(self._frame)))
        self._work.spawn(self._model_calls.call(costs=costs))

    def _stop(self, _: steps.Stop) -> None:
        frame = self._frame
        frame.underway = None
        said = None if frame.reply is None else text_of_reply(self._runs.transcript.items(frame.reply))
        guardrails.finish(frame, said, blocks=[frame.reply])

    def _filter_history(self, _: steps.FilterHistory) -> None:
        self._frame.phase = "filtering"
        self._work.spawn(self._handoffs.filter_history())

    def _compact_history(self, _: steps.CompactHistory) -> None:
        self._frame.phase, self._frame.compact = "compacting", False
        self._work.spawn(self._compaction.run())

    def _finish_turn(self, _: steps.FinishTurn) -> None:
        failure, handed_over = self._context.keep_edits(), self._frame.handoff is not None
        calls = self._keep_outputs()
        self._frame.failure = failure
        self._frame.phase = "model"
        self._handoffs.finish()
        if not handed_over:
            self._turn_end.take(calls)

    def _run_guardrail(self, step: guardrails.RunGuardrail) -> None:
        step.guard.state = "running"
        self._work.spawn(self._guardrails.run(step.guard))

    def _ask_budget(self, step: limits.AskBudget) -> None:
        request = requests.for_limit(self._frame, step.reached, self._runs.identity)
        self._frame.phase, self._frame.request = "budget", self._ledger.book.open(request)

    def _handle_limit(self, step: limits.HandleLimit) -> None:
        self._frame.phase = "closing"
        self._work.spawn(self._last_words.at_limit(step.reached))

    def _check_message(self, step: messages.CheckMessage) -> None:
        step.guard.state = "running"
        self._work.spawn(self._guardrails.check(step.message, step.guard))

    def _place_messages(self, _: messages.PlaceMessages) -> None:
        self._mailbox.place(self._frame, self._frame.queue, workflow.now())

    def _refuse_messages(self, step: messages.RefuseMessages) -> None:
        self._mailbox.refuse(self._frame, step, workflow.now())

    # --- calls ---

    def _ask_person(self, step: steps.AskPerson) -> None:
        """Open the request of a gated call, unless a standing decision answers it."""
        call = step.call
        item = self._arguments.item_of(self._frame, call)
        if call.state == "asked":
            request = requests.for_server(self._frame, call, item, self._runs.identity)
            call.state, call.request = "asking", self._ledger.book.open(request)
            return
        request = requests.for_call(self._frame, call, item, self._runs.identity)
        arguments = self._arguments.of(self._frame, call)
        recalled = self._ledger.recall(request, arguments, call.call_id, workflow.now())
        if recalled is None:
            call.state = "asking"
            call.request = self._ledger.book.open(request)
            return
        binding.bind_recalled(recalled, request, arguments)
        following = verdicts.apply_verdict(self._frame, call, recalled)
        if following is not None:
            self._take(following)

    def _set_output(self, step: steps.SetOutput) -> None:
        self._endings.set_output(step.call, step.output)

    def _word_rejection(self, step: steps.WordRejection) -> None:
        step.call.state = "wording"
        self._work.spawn(self._tool_calls.word_rejection(step.call, step.decided_by))

    def _begin(self, step: steps.Begin) -> None:
        call = step.call
        if not self._arguments.are_bound(self._frame, call):
            self._endings.mismatch(call)
            return
        call.state = "running"
        match step:
            case steps.StartTool():
                running = self._tool_calls.run(call)
            case steps.StartAgent():
                running = self._nested.run(call)
            case steps.HandOver():
                running = self._handoffs.hand_over(call)
        self._work.spawn(running)

    def _keep_outputs(self) -> list[Call]:
        """Append one output for each call, in the model's order; return the calls."""
        calls, self._frame.calls = self._frame.calls, []
        self._frame.blocks.extend(call.output for call in calls if call.output is not None)
        return calls

    async def _wait(self) -> None:
        """Wait until an activity ends, something is said from outside, or a time is reached."""
        seen = self._runs.version
        self._set_timer(self._next_wake())
        await workflow.wait_condition(
            lambda: (
                self._runs.version != seen
                or self._work.any_done
                or (self._frame.held and limits.requests_left(self._frame, self._ledger.book.entries.values()) > 0)
                or (self._timer is not None and self._timer[1].done())
            )
        )
        self._runs.marks.note_input()
        self._work.reap()

    def _next_wake(self) -> datetime | None:
        ledger, frame = self._ledger, self._frame
        times = [ledger.book.next_deadline(frame.id), ledger.book.next_step(frame.id), next_steps.wake_at(frame)]
        if ledger.log.steps or ledger.book.unpublished:
            times.append(workflow.now())  # more than one task's commands can carry: the next one publishes the rest
        return min((time for time in times if time is not None), default=None)

    def _set_timer(self, at: datetime | None) -> None:
        """Keep one timer, for the nearest time, and leave it alone while that stays the same."""
        if self._timer is not None:
            if self._timer[0] == at and not self._timer[1].done():
                return
            self._timer[1].cancel()
            self._timer = None
        if at is not None:
            pause = max(at - workflow.now(), NEXT_TASK)
            self._timer = (at, asyncio.create_task(asyncio.sleep(pause.total_seconds())))

    async def _abandon(self, why: str) -> None:
        """End the frame: withdraw its requests, cancel its activities, and wait until they have ended."""
        self._work.ending, self._frame.held = True, 0
        if self._frame.has_to_answer:
            self._mailbox.refuse(self._frame, messages.RefuseMessages("ended", why), workflow.now())
        for call in self._frame.calls:
            call.cancelling = call.cancelling or ""
        self._set_timer(None)
        self._ledger.book.withdraw_all(self._frame.id, workflow.now(), why)
        self._runs.publish()
        await self._work.end()
        for call in self._frame.calls:
            if call.state != "settled":
                self._endings.set_output(call, verdicts.CANCELLED)
        self._context.keep_edits()  # of calls that returned; what cannot be kept is no second ending
        self._keep_outputs()
        self._runs.publish()


METHODS: Final[Mapping[type[steps.Step], Callable[[Driver, Any], None]]] = {
    steps.CallModel: Driver._call_model,
    steps.Stop: Driver._stop,
    steps.FilterHistory: Driver._filter_history,
    steps.CompactHistory: Driver._compact_history,
    steps.FinishTurn: Driver._finish_turn,
    guardrails.RunGuardrail: Driver._run_guardrail,
    limits.AskBudget: Driver._ask_budget,
    limits.HandleLimit: Driver._handle_limit,
    messages.CheckMessage: Driver._check_message,
    messages.PlaceMessages: Driver._place_messages,
    messages.RefuseMessages: Driver._refuse_messages,
    steps.AskPerson: Driver._ask_person,
    steps.SetOutput: Driver._set_output,
    steps.WordRejection: Driver._word_rejection,
    steps.StartTool: Driver._begin,
    steps.StartAgent: Driver._begin,
    steps.HandOver: Driver._begin,
}
"""Method that takes each step."""


def too_large(frame: Frame, size: int) -> Failure:
    """Return the failure of a run whose result could not be sent."""
    return Failure(
        type="OutputTooLarge",
        message=f"the output of {frame.agent} has {size:,} bytes, and a result may take {RESULT_BYTES:,}; let a tool "
        "store it, and end with its address",
        facts={"bytes": size, "limit": RESULT_BYTES},
    )


def failed(failure: Failure, usage: Usage) -> ApplicationError:
    """Return the error that a workflow fails with; its details are the facts, and the usage."""
    details = (failure.facts or {}, Spent(usage=usage).to_wire())
    return ApplicationError(failure.message, *details, type=failure.type, non_retryable=True)
