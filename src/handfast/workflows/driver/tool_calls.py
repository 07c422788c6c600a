"""One frame's calls: starts what a call needs, and hands its ending on."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, TypeVar

from temporalio import workflow

from handfast.payloads.evaluation import GuardCall, Question, RevalidateCall, WordRejection
from handfast.payloads.mcp import McpShown
from handfast.payloads.model_call import ExistingActivity
from handfast.payloads.requests import DEFAULT_REJECTION
from handfast.payloads.tool_call import MCP_TYPE, TOOL_TYPE, ToolCall
from handfast.workflows.driver import existing_activity
from handfast.workflows.driver.ask_again import was_shown
from handfast.workflows.driver.call_questions import about
from handfast.workflows.driver.doubts import Verification
from handfast.workflows.driver.endings import CallEndings
from handfast.workflows.frame.frame import Call, Frame
from handfast.workflows.ledger import requests
from handfast.workflows.state.run_state import RunState
from handfast.workflows.tasks import timeouts
from handfast.workflows.tasks.settle import Cancelled, Done, Failed
from handfast.workflows.tasks.work import Work

NEXT_TASK: Final = timedelta(milliseconds=10)
"""After it another workflow task comes, whose commands have room again."""

NO_SUCH_OUTPUT: Final = "Error: no output of this conversation has this id; take the sha256 that it was shown with"


AnswerT = TypeVar("AnswerT")


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
        self._verification = Verification(state, frame, work, self.endings)

    async def run_tool(self, call: Call) -> None:
        """Run a tool's activity, to its end; its input guardrails are asked first."""
        frame, plan = self._frame, call.plan
        if plan.activity is not None:
            await self._run_existing(call, plan.activity)
            return
        if plan.reads and self._state.arguments_of(frame, call).get("id") not in frame.artifacts:
            self.endings.settle(call, NO_SUCH_OUTPUT, ran=False)
            return
        if plan.guarded and not call.allowed:
            await self._ask_guardrails(call)
            if not call.allowed:
                return
        name = f"{TOOL_TYPE}{call.tool}" if plan.mcp is None else f"{MCP_TYPE}{plan.mcp}"
        if plan.revalidates and call.digest is not None and not await self._still_holds(call):
            return
        effect = plan.effect or "at_most_once"
        timeout = timeouts.tool_timeout(plan.timeout_s)
        arguments, at = self._state.placed_arguments(frame, call)
        arg = ToolCall(
            origin=self._state.origin(frame),
            tool=call.tool,
            call_id=call.call_id,
            arguments=arguments,
            at=at,
            effect=effect,
            timeout_s=timeout.total_seconds(),
            key=self._key(call),
            request=call.released_by,
            digest=call.digest,
            binding=call.binding,
            asked_in=None if call.digest is None else call.asked_in or frame.replied_in,
            stream=True if frame.stream else None,
            proofs=self._state.placed_proofs(call),
            lost=call.lost or None,
            output_guarded=plan.output_guarded,
            signed=True if self._state.ledger.state.signed and call.proofs is not None else None,
            mcp=self._shown(call),
        )
        settled = await self._work.activity(
            name,
            arg.to_wire(),
            f"{frame.agent} · turn {frame.turn} · {call.tool}",
            timeouts.tool_call(timeout, effect, plan.task_queue, plan.retry),
            call=call.call_id,
            by_any_worker=call.missing_since is not None,
        )
        self.endings.take(call, settled)
        await self._verification.resolve(call, self._key(call))

    async def _run_existing(self, call: Call, activity: ExistingActivity) -> None:
        """Run an activity that exists already: it gets its argument and nothing of ours."""
        frame, plan = self._frame, call.plan
        if not self._state.is_bound(frame, call):
            self.endings.mismatch(call)
            return
        key = requests.idempotency_key(self._state.asker, frame, call)
        argument = existing_activity.argument(
            activity, requests.arguments_of(call, self._state.item_of(frame, call)), key
        )
        if argument is not None and not self._state.room.take(argument):
            call.state, call.resume_at = "backoff", workflow.now() + NEXT_TASK
            return
        settled = await self._work.activity(
            activity.type,
            argument,
            f"{frame.agent} · turn {frame.turn} · {call.tool}",
            existing_activity.budget(
                activity, timeouts.tool_timeout(plan.timeout_s), plan.effect or "at_most_once", plan.task_queue
            ),
            call=call.call_id,
            by_any_worker=call.missing_since is not None,
        )
        self.endings.take_existing(call, activity, settled)
        await self._verification.resolve(call, key)

    async def _ask_guardrails(self, call: Call) -> None:
        """Let the input guardrails see what is about to run. Where nobody could ask them, it does not run."""
        asked = about(call, self._frame, self._state, GuardCall, key=self._key(call))
        answer = await self._asked_before(call, asked, f"guardrails of {call.tool}")
        if answer is None:
            return
        if answer.problem is not None:
            self.endings.trip(call, answer.problem)
        elif answer.text is not None:
            self.endings.settle(call, answer.text, ran=False)
        elif call.cancelling is not None:
            self.endings.cancelled(call)
        else:
            call.allowed = True

    async def _still_holds(self, call: Call) -> bool:
        """Let the tool say whether the approval still holds; where it does not, a person is asked anew."""
        asked = about(call, self._frame, self._state, RevalidateCall, key=self._key(call))
        answer = await self._asked_before(call, asked, f"whether {call.tool} still holds")
        if answer is None:
            return False
        if call.cancelling is not None:
            self.endings.cancelled(call)
        elif answer.changed is None or was_shown(self._state, call, answer.changed):
            return True
        else:
            self.endings.void(call, answer.changed)
        return False

    async def _asked_before(self, call: Call, asked: Question[AnswerT], what: str) -> AnswerT | None:
        """What the application says of a call that is about to run; None: the call has its ending already."""
        summary = f"{self._frame.agent} · {what}"
        again = call.starts > 0
        settled = await self._work.evaluate(
            asked, summary, timeouts.TOOL_GUARDRAILS, call=call.call_id, by_any_worker=again
        )
        match settled:
            case Done(answer):
                return answer
            case Failed(type="ContextInvalid", message=message):
                self.endings.settle(call, f"Error: {message}", ran=False)
            case Failed():
                self.endings.not_begun(call)
            case Cancelled():
                self.endings.take(call, settled)
        return None

    def _shown(self, call: Call) -> McpShown | None:
        plan = call.plan
        if plan.mcp is None:
            return None
        definition = self._frame.definitions.get(call.tool, {})
        return McpShown(server=plan.mcp, digest=plan.schema_digest or "", definition=definition)

    def _key(self, call: Call) -> str:
        return call.key or call.plan.key or requests.idempotency_key(self._state.asker, self._frame, call)

    async def word_rejection(self, call: Call, decided_by: str | None) -> None:
        """Let the agent word the output of a rejected call."""
        arg = about(call, self._frame, self._state, WordRejection, decided_by=decided_by)
        text = DEFAULT_REJECTION
        summary = f"{self._frame.agent} · wording the rejection"
        match await self._work.evaluate(arg, summary, timeouts.PART_OF_RUN):
            case Done(worded):
                text = DEFAULT_REJECTION if worded.text is None else worded.text
        self.endings.settle(call, text)
