"""Events of model calls and their replies."""

from __future__ import annotations

from handfast.errors import JsonProfileError
from handfast.history.events.loop_ends import LoopEnds
from handfast.history.events.loops import CallView, Emitter, LoopView, arguments_in
from handfast.payloads import call_items
from handfast.payloads.events import GuardrailSpoke, ModelFailed, ModelReplied, ReplyCall, ToolNotRun
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.model_call import REPLY_BROKEN, ModelReply, PlannedCall
from handfast.workflows.frame.items import answer_value, refusal_text, text_of_reply
from handfast.workflows.tasks.await_activity import Cancelled, Ending, Failed

STOPPED = "ModelCallCancelled"
"""Type of the failure of a model call that was told to stop."""
NOT_RUN = ("unknown", "invalid", "blocked")
"""Plans whose calls get their output at once."""


class Replies:
    """Adds the events of the model's replies."""

    def __init__(self, ends: LoopEnds) -> None:
        self._ends = ends

    def take(self, loop: LoopView, turn: int, reply: ModelReply, guard: bool, out: Emitter) -> None:
        """Add the events of a model call that was answered.

        Args:
            loop: The loop that it belongs to.
            turn: That it makes.
            reply: The reply.
            guard: The call could be answered with the agent's guardrails instead.
            out: Takes the events.
        """
        if guard and reply.input_guardrails:
            loop.guards += [f"input {each.name}" for each in reply.input_guardrails]
        if reply.is_none or not reply.items:
            return
        loop.turn, loop.reply, loop.after_tools = turn, reply.block, reply.after_tools
        loop.calls = {}
        for plan in reply.calls:
            call = _call(plan, reply.items)
            loop.calls[call.call_id] = call
        loop.take_calls(loop.calls.values(), reply.items)
        out.add(
            ModelReplied,
            **loop.fields(),
            text=text_of_reply(reply.items),
            refusal=refusal_text(reply.items),
            calls=[_shown(call) for call in loop.calls.values()],
            items=reply.items,
            usage=reply.usage,
            model=reply.model,
            block=reply.block,
            response_id=reply.response_id,
            left_out=reply.left_out or [],
            passed_over=reply.passed_over or [],
        )
        for call in list(loop.calls.values()):
            self._planned(loop, call, out)
        if not reply.calls and reply.refusal is None:
            self._answer(loop, reply)

    def failed(self, loop: LoopView, turn: int, ending: Ending, out: Emitter) -> None:
        """Add the event of a model call that ended without a reply."""
        if isinstance(ending, Cancelled) or (isinstance(ending, Failed) and ending.type == STOPPED):
            out.add(ModelFailed, **loop.fields(turn), failure="Cancelled", message="the model call was cancelled")
        elif isinstance(ending, Failed):
            out.add(ModelFailed, **loop.fields(turn), failure=ending.type, message=ending.message)
            again = ending.type in (REPLY_BROKEN, "AgentMissing", "TimeoutScheduleToClose") or ending.not_registered
            if not again:
                self._ends.end(loop, "failed", out, failure=ending.type, message=ending.message)

    def _planned(self, loop: LoopView, call: CallView, out: Emitter) -> None:
        plan = call.plan
        if plan is None:
            return
        if plan.kind in NOT_RUN:
            out.add(ToolNotRun, **loop.fields_of(call), why=plan.kind, output=plan.text)
            self._ends.close(loop, call)
        elif plan.kind == "tripped":
            out.add(GuardrailSpoke, **loop.fields_of(call), kind="tool_input", outcome="fail", reason=plan.text)

    def _answer(self, loop: LoopView, reply: ModelReply) -> None:
        guards = [f"output {name}" for name in reply.output_guardrails or ()]
        if reply.structured is None:
            self._ends.answer(loop, text_of_reply(reply.items), guards)
        elif reply.structured.problem is None:
            try:
                value: JsonValue = answer_value(reply.items, reply.structured)
            except JsonProfileError:
                return  # it is asked for again
            self._ends.answer(loop, value, guards)


def _call(plan: PlannedCall, items: list[JsonObject]) -> CallView:
    item = items[plan.index]
    return CallView(call_items.id_of(item), call_items.tool_of(item), plan, arguments_in(item))


def _shown(call: CallView) -> ReplyCall:
    plan = call.plan
    return ReplyCall(
        call_id=call.call_id,
        tool=call.tool,
        plan=plan.kind if plan is not None else "run",
        arguments=call.arguments,
        agent=plan.agent if plan is not None else None,
    )
