"""One frame's calls: starts what a call needs, and hands its ending on."""

from __future__ import annotations

from typing import Final, TypeVar

from temporalio import workflow

from handfast.payloads.evaluation import GuardCall, Question, RevalidateCall, WordRejection
from handfast.payloads.mcp import McpShown
from handfast.payloads.model_call import ExistingActivity
from handfast.payloads.requests import DEFAULT_REJECTION
from handfast.payloads.tool_call import MCP_TYPE, TOOL_TYPE, Proofs, ToolCall
from handfast.workflows.driver import existing_activity
from handfast.workflows.driver.endings import CallEndings
from handfast.workflows.driver.frame_loop import FrameLoop
from handfast.workflows.driver.verification import Verification
from handfast.workflows.frame.frame import Call
from handfast.workflows.ledger.ledger import LedgerState
from handfast.workflows.tasks import timeouts
from handfast.workflows.tasks.await_activity import Cancelled, Done, Failed
from handfast.workflows.tasks.command_budget import NEXT_TASK, CommandBudget

NO_SUCH_OUTPUT: Final = "Error: no output of this conversation has this id; take the sha256 that it was shown with"


AnswerT = TypeVar("AnswerT")


class ToolCalls:
    """Runs the tools of one frame's calls."""

    def __init__(
        self,
        loop: FrameLoop,
        ledger: LedgerState,
        budget: CommandBudget,
        *,
        endings: CallEndings,
        verification: Verification,
    ) -> None:
        """Take the loop of the calls, and the parts that a tool is started, asked and ended with."""
        self._loop = loop
        self._frame = loop.frame
        self._ledger = ledger
        self._budget = budget
        self._endings = endings
        self._verification = verification

    async def run(self, call: Call) -> None:
        """Ask the input guardrails and `revalidate` of a tool, then run its activity."""
        frame, plan = self._frame, call.plan
        if plan.activity is not None:
            await self._run_existing(call, plan.activity)
            return
        if plan.reads and self._loop.arguments.of(frame, call).get("id") not in frame.artifacts:
            self._endings.set_output(call, NO_SUCH_OUTPUT, ran=False)
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
        arguments, at = self._loop.arguments.placed(frame, call)
        arg = ToolCall(
            origin=self._loop.origin,
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
            proofs=self._placed_proofs(call),
            lost=call.lost or None,
            output_guarded=plan.output_guarded,
            signed=True if self._ledger.signed and call.proofs is not None else None,
            mcp=self._shown(call),
            asked=None if call.asked is None else call.asked.model_copy(update={"questions": []}),
        )
        ending = await self._loop.work.activity(
            name,
            arg.to_wire(),
            f"{frame.agent} · turn {frame.turn} · {call.tool}",
            timeouts.tool_call(timeout, effect, plan.task_queue, plan.retry),
            call=call.call_id,
            by_any_worker=call.missing_since is not None,
        )
        self._endings.take(call, ending)
        await self._verification.resolve(call, self._key(call))

    async def _run_existing(self, call: Call, activity: ExistingActivity) -> None:
        """Run an activity that exists already: it gets its argument and nothing of ours."""
        frame, plan = self._frame, call.plan
        if not self._loop.arguments.are_bound(frame, call):
            self._endings.mismatch(call)
            return
        key = self._loop.identity.idempotency_key(frame, call)
        argument = existing_activity.argument(activity, self._loop.arguments.of(frame, call), key)
        if argument is not None and not self._budget.take(argument):
            call.state, call.resume_at = "backoff", workflow.now() + NEXT_TASK
            return
        ending = await self._loop.work.activity(
            activity.type,
            argument,
            f"{frame.agent} · turn {frame.turn} · {call.tool}",
            existing_activity.options(
                activity, timeouts.tool_timeout(plan.timeout_s), plan.effect or "at_most_once", plan.task_queue
            ),
            call=call.call_id,
            by_any_worker=call.missing_since is not None,
        )
        self._endings.take_existing(call, activity, ending)
        await self._verification.resolve(call, key)

    async def _ask_guardrails(self, call: Call) -> None:
        """Ask the input guardrails about the call. If nobody can ask them, it does not run."""
        question = self._loop.about(call, GuardCall, key=self._key(call))
        answer = await self._asked_before(call, question, f"guardrails of {call.tool}")
        if answer is None:
            return
        if answer.problem is not None:
            self._endings.trip(call, answer.problem)
        elif answer.text is not None:
            self._endings.set_output(call, answer.text, ran=False)
        elif call.cancelling is not None:
            self._endings.cancelled(call)
        else:
            call.allowed = True

    async def _still_holds(self, call: Call) -> bool:
        """Ask `revalidate` whether the approval still holds; if it does not, ask a person anew."""
        question = self._loop.about(call, RevalidateCall, key=self._key(call))
        answer = await self._asked_before(call, question, f"whether {call.tool} still holds")
        if answer is None:
            return False
        if call.cancelling is not None:
            self._endings.cancelled(call)
        elif answer.changed is None or self._endings.was_shown(call, answer.changed):
            return True
        else:
            self._endings.void(call, answer.changed)
        return False

    async def _asked_before(self, call: Call, question: Question[AnswerT], what: str) -> AnswerT | None:
        """Ask user code about a call that is about to run; None where the call has its ending already."""
        ending = await self._loop.ask(
            question, what, timeouts.TOOL_GUARDRAILS, call=call.call_id, by_any_worker=call.starts > 0
        )
        match ending:
            case Done(answer):
                return answer
            case Failed(type="ContextInvalid", message=message):
                self._endings.set_output(call, f"Error: {message}", ran=False)
            case Failed():
                self._endings.not_begun(call)
            case Cancelled():
                self._endings.take(call, ending)
        return None

    def _shown(self, call: Call) -> McpShown | None:
        plan = call.plan
        if plan.mcp is None:
            return None
        definition = self._frame.definitions.get(call.tool, {})
        return McpShown(server=plan.mcp, digest=plan.schema_digest or "", definition=definition)

    def _key(self, call: Call) -> str:
        return call.key or call.plan.key or self._loop.identity.idempotency_key(self._frame, call)

    def _placed_proofs(self, call: Call) -> Proofs | None:
        """Return the decisions behind a call, as its activity gets them; None where it needs none."""
        proofs = call.proofs
        if proofs is None or not (self._ledger.signed or proofs.decisions or proofs.again):
            return None
        wire = proofs.to_wire()
        return proofs if self._budget.takes_small(wire) else Proofs(at=self._loop.transcript.new_block([wire]))

    async def word_rejection(self, call: Call, decided_by: str | None) -> None:
        """Let the agent word the output of a rejected call."""
        text = DEFAULT_REJECTION
        question = self._loop.about(call, WordRejection, decided_by=decided_by)
        match await self._loop.ask(question, "wording the rejection", timeouts.PART_OF_RUN):
            case Done(worded):
                text = DEFAULT_REJECTION if worded.text is None else worded.text
        self._endings.set_output(call, text)
