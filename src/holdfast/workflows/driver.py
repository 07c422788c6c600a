"""Drives one frame: starts what is missing, waits for what comes, and writes it into the frame."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from holdfast.payloads.evaluation import Evaluated, WordRejection
from holdfast.payloads.json_profile import JsonObject
from holdfast.payloads.model_call import REPLY_BROKEN, ModelCall, ModelReply
from holdfast.payloads.requests import DEFAULT_REJECTION
from holdfast.payloads.runs import RunResult
from holdfast.payloads.tool_call import ArgumentsAt, ToolCall
from holdfast.workflows import asking, budgets, loop
from holdfast.workflows.endings import CallEndings
from holdfast.workflows.frames import Call, Failure, Frame
from holdfast.workflows.settle import Cancelled, Done, Failed, Settled, settle_activity, start_activity
from holdfast.workflows.state import RunState


class Driver:
    """Owns the activities of one frame; everything that has to last is in the frame itself."""

    def __init__(self, state: RunState, frame: Frame) -> None:
        self._state = state
        self._frame = frame
        self._tasks: list[asyncio.Task[None]] = []
        self._handles: list[workflow.ActivityHandle[Any]] = []
        self._timer: tuple[datetime, asyncio.Task[None]] | None = None
        self._endings = CallEndings(state, frame)

    async def run(self) -> RunResult:
        """Drive the frame to its end.

        Raises:
            ApplicationError: The run failed; its type says how.
            asyncio.CancelledError: Cancelled; everything open has been withdrawn and every tool has ended.
        """
        frame = self._frame
        try:
            while True:
                self._advance()
                if frame.failure is not None:
                    await self._abandon("the run failed")
                    raise ApplicationError(frame.failure.message, type=frame.failure.type, non_retryable=True)
                if frame.phase == "finished":
                    break
                await self._wait()
        except asyncio.CancelledError:
            await self._abandon("the run was cancelled")
            raise
        self._set_timer(None)
        return RunResult(output=frame.output, agent=frame.agent, turns=frame.turn, usage=frame.usage)

    # --- the loop ---

    def _advance(self) -> None:
        """Start everything that is missing, until nothing is."""
        self._state.ledger.expire(workflow.now())
        while steps := loop.next_steps(self._frame, self._state.ledger.entries, workflow.now()):
            for step in steps:
                self._take(step)
        self._state.publish()

    def _take(self, step: loop.Step) -> None:
        match step:
            case loop.CallModel():
                self._frame.phase = "thinking"
                self._spawn(self._call_model())
            case loop.StartTool(call):
                call.state = "running"
                self._spawn(self._run_tool(call))
            case loop.AskPerson(call):
                call.state = "asking"
                call.request = self._state.open_request(
                    asking.approval(self._frame, call, self._state.item_of(self._frame, call), self._state.asker)
                )
            case loop.WordRejection(call, decided_by):
                call.state = "wording"
                self._spawn(self._word_rejection(call, decided_by))
            case loop.Settle(call, output):
                self._endings.settle(call, output)
            case loop.FinishTurn():
                self._finish_turn()

    def _finish_turn(self) -> None:
        self._frame.blocks.extend(call.output for call in self._frame.calls if call.output is not None)
        self._frame.calls = []
        self._frame.phase = "model"

    async def _wait(self) -> None:
        """Sleep until an activity ends, a decision comes, or a time is reached."""
        seen = self._state.ledger_version
        self._set_timer(self._next_wake())
        await workflow.wait_condition(
            lambda: (
                self._state.ledger_version != seen
                or any(task.done() for task in self._tasks)
                or (self._timer is not None and self._timer[1].done())
            )
        )
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.remove(task)
            task.result()

    def _next_wake(self) -> datetime | None:
        times = [self._state.ledger.next_deadline(self._frame.id), loop.wake_at(self._frame)]
        if self._state.ledger.log or self._state.ledger.unpublished:
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
            pause = max((at - workflow.now()).total_seconds(), 0.001)
            self._timer = (at, asyncio.create_task(asyncio.sleep(pause)))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def _abandon(self, why: str) -> None:
        """End everything of this frame: withdraw its requests, cancel its activities, wait until they have ended."""
        self._endings.run_is_ending = True
        self._set_timer(None)
        self._state.withdraw_requests(self._frame.id, why)
        self._state.publish()
        for handle in self._handles:
            handle.cancel()
        if self._tasks:
            # A task of its own: on cache eviction it cannot be created, which ends this here instead of waiting.
            ended = asyncio.create_task(_all(self._tasks))
            while not ended.done():
                try:
                    await asyncio.shield(ended)
                except asyncio.CancelledError:
                    continue  # a second cancel changes nothing: tools that are ending are waited for
            ended.result()
        for call in self._frame.calls:
            if call.state != "settled":
                self._endings.settle(call, loop.CANCELLED)
        self._state.publish()

    # --- the model ---

    async def _call_model(self) -> None:
        frame = self._frame
        arg = ModelCall(
            origin=self._state.origin(frame),
            after=frame.seen,
            ids=frame.blocks[frame.cursor :],
            probe=not (frame.limit_known and self._state.publisher.attributes_known),
        )
        settled = await self._activity(
            "holdfast.call_model", arg.to_wire(), f"{frame.agent} · turn {frame.turn + 1}", budgets.MODEL_CALL
        )
        match settled:
            case Done(value):
                self._take_reply(ModelReply.from_wire(value))
            case Cancelled():
                frame.failure = Failure(type="Cancelled", message="the model call was cancelled")
            case Failed() as failed if failed.type == "AgentMissing" or failed.not_registered:
                self._agent_missing()
            case Failed(type=kind, message=message) if kind == REPLY_BROKEN:
                self._reply_broken(message)
            case Failed(type="TimeoutScheduleToClose", under=under, message=message):
                self._out_of_patience(under, message)
            case Failed(type=kind, message=message):
                frame.failure = Failure(type=kind, message=message)

    def _take_reply(self, reply: ModelReply) -> None:
        frame = self._frame
        frame.missing_since, frame.resume_at, frame.broken_replies, frame.waits = None, None, 0, 0
        if not frame.limit_known:
            frame.limit_known = True
            if frame.max_turns is None and not self._state.unlimited(frame):
                frame.max_turns = reply.max_turns or None
        if reply.attributes is not None:
            self._state.publisher.attributes_exist(reply.attributes)
        self._state.transcript.add(reply.block, reply.items)
        frame.cursor = len(frame.blocks)
        frame.blocks.append(reply.block)
        frame.seen = frame.blocks[frame.cursor - 1] if frame.cursor else None
        frame.turn += 1
        frame.reply = reply.block
        frame.usage = frame.usage.plus(reply.usage)
        frame.calls = [
            Call(
                plan=plan,
                call_id=str(reply.items[plan.index]["call_id"]),
                tool=str(reply.items[plan.index]["name"]),
            )
            for plan in reply.calls
        ]
        if frame.calls:
            frame.phase = "calls"
        else:
            frame.output = loop.text_of_reply(reply.items)
            frame.phase = "finished"

    def _reply_broken(self, message: str) -> None:
        frame = self._frame
        frame.missing_since = None
        frame.broken_replies += 1
        if frame.broken_replies == loop.MOST_BROKEN_REPLIES:
            frame.failure = Failure(type="ModelReplyInvalid", message=message)
            return
        frame.phase = "backoff"
        frame.resume_at = workflow.now() + loop.delay_of(frame.broken_replies - 1)

    def _out_of_patience(self, under: str | None, message: str) -> None:
        """An hour has passed. Where the model was never heard of in it, no worker was there: that is waited for."""
        frame = self._frame
        frame.waits += 1
        if (under is not None and under.startswith("Model")) or frame.waits > budgets.MOST_WAITS:
            frame.failure = Failure(type="ModelUnavailable", message=message)
        else:
            frame.phase = "model"

    def _agent_missing(self) -> None:
        frame, now = self._frame, workflow.now()
        frame.missing_since = frame.missing_since or now
        if now - frame.missing_since < loop.MISSING_PATIENCE:
            frame.phase = "backoff"
            frame.resume_at = now + loop.pause_of_missing(frame.missing_since, now)
            return
        if self._endings.run_is_ending:
            return
        frame.phase = "stuck"
        frame.request = self._state.open_request(asking.missing_agent(frame, self._state.asker))

    # --- tools ---

    async def _run_tool(self, call: Call) -> None:
        frame, plan = self._frame, call.plan
        effect = plan.effect or "at_most_once"
        timeout = budgets.tool_timeout(plan.timeout_s)
        arguments, at = self._arguments(call)
        arg = ToolCall(
            origin=self._state.origin(frame),
            tool=call.tool,
            call_id=call.call_id,
            arguments=arguments,
            at=at,
            effect=effect,
            timeout_s=timeout.total_seconds(),
            key=plan.key or asking.idempotency_key(self._state.asker, frame, call),
            request=call.released_by,
            digest=call.digest,
        )
        settled = await self._activity(
            f"holdfast.tool.{call.tool}",
            arg.to_wire(),
            f"{frame.agent} · turn {frame.turn} · {call.tool}",
            budgets.tool_call(timeout, effect),
        )
        self._endings.take(call, settled)

    async def _word_rejection(self, call: Call, decided_by: str | None) -> None:
        arguments, at = self._arguments(call)
        arg = WordRejection(
            origin=self._state.origin(self._frame),
            tool=call.tool,
            arguments=arguments,
            at=at,
            decided_by=decided_by,
        )
        text = DEFAULT_REJECTION
        match await self._activity(
            "holdfast.evaluate", arg.to_wire(), f"{self._frame.agent} · wording the rejection", budgets.EVALUATION
        ):
            case Done(value):
                worded = Evaluated.from_wire(value).text
                text = DEFAULT_REJECTION if worded is None else worded
        self._endings.settle(call, text)

    # --- shared ---

    def _arguments(self, call: Call) -> tuple[JsonObject | None, ArgumentsAt | None]:
        arguments = asking.arguments_of(call, self._state.item_of(self._frame, call))
        return self._state.placed(arguments, asking.place_of(self._frame, call))

    async def _activity(self, name: str, arg: JsonObject, summary: str, config: workflow.ActivityConfig) -> Settled:
        handle = start_activity(name, arg, summary, config)
        self._handles.append(handle)
        try:
            return await settle_activity(handle)
        finally:
            self._handles.remove(handle)


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        await task
