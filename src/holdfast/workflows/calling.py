"""One frame's calls: starts what a call needs, and hands its ending on."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio import workflow

from holdfast.payloads.evaluation import Evaluated, WordRejection
from holdfast.payloads.model_call import ExistingActivity
from holdfast.payloads.requests import DEFAULT_REJECTION
from holdfast.payloads.tool_call import ToolCall
from holdfast.workflows import asking, budgets, existing
from holdfast.workflows.endings import CallEndings
from holdfast.workflows.frames import Call, Frame
from holdfast.workflows.settle import Done
from holdfast.workflows.state import RunState
from holdfast.workflows.work import Work

NEXT_TASK: Final = timedelta(milliseconds=10)
"""After it another workflow task comes, whose commands have room again."""


class Calls:
    """Carries out the calls of one frame's turn.

    Attributes:
        endings: What becomes of a call that has ended.
    """

    def __init__(self, state: RunState, frame: Frame, work: Work) -> None:
        self._state = state
        self._frame = frame
        self._work = work
        self.endings = CallEndings(state, frame, work)

    async def run_tool(self, call: Call) -> None:
        """Run a tool's activity, to its end."""
        frame, plan = self._frame, call.plan
        if plan.activity is not None:
            await self._run_existing(call, plan.activity)
            return
        effect = plan.effect or "at_most_once"
        timeout = budgets.tool_timeout(plan.timeout_s)
        arguments, at = self._state.placed_arguments(frame, call)
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
        settled = await self._work.activity(
            f"holdfast.tool.{call.tool}",
            arg.to_wire(),
            f"{frame.agent} · turn {frame.turn} · {call.tool}",
            budgets.tool_call(timeout, effect, plan.task_queue),
        )
        self.endings.take(call, settled)

    async def _run_existing(self, call: Call, activity: ExistingActivity) -> None:
        """Run an activity that exists already: it gets its argument and nothing of ours."""
        frame, plan = self._frame, call.plan
        key = asking.idempotency_key(self._state.asker, frame, call)
        argument = existing.argument(activity, asking.arguments_of(call, self._state.item_of(frame, call)), key)
        if argument is not None and not self._state.take_room(argument):
            call.state, call.resume_at = "backoff", workflow.now() + NEXT_TASK
            return
        settled = await self._work.activity(
            activity.type,
            argument,
            f"{frame.agent} · turn {frame.turn} · {call.tool}",
            existing.budget(
                activity, budgets.tool_timeout(plan.timeout_s), plan.effect or "at_most_once", plan.task_queue
            ),
        )
        self.endings.take_existing(call, activity, settled)

    async def word_rejection(self, call: Call, decided_by: str | None) -> None:
        """Let the agent word the output of a rejected call."""
        arguments, at = self._state.placed_arguments(self._frame, call)
        arg = WordRejection(
            origin=self._state.origin(self._frame),
            tool=call.tool,
            arguments=arguments,
            at=at,
            decided_by=decided_by,
        )
        text = DEFAULT_REJECTION
        match await self._work.activity(
            "holdfast.evaluate", arg.to_wire(), f"{self._frame.agent} · wording the rejection", budgets.EVALUATION
        ):
            case Done(value):
                worded = Evaluated.from_wire(value).text
                text = DEFAULT_REJECTION if worded is None else worded
        self.endings.settle(call, text)
