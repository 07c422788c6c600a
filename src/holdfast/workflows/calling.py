"""One frame's calls: starts what a call needs, and hands its ending on."""

from __future__ import annotations

from holdfast.payloads.evaluation import Evaluated, WordRejection
from holdfast.payloads.requests import DEFAULT_REJECTION
from holdfast.payloads.tool_call import ToolCall
from holdfast.workflows import asking, budgets
from holdfast.workflows.endings import CallEndings
from holdfast.workflows.frames import Call, Frame
from holdfast.workflows.settle import Done
from holdfast.workflows.state import RunState
from holdfast.workflows.work import Work


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
            budgets.tool_call(timeout, effect),
        )
        self.endings.take(call, settled)

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
