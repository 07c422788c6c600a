"""What a frame ends with where the model gave no answer: its agent's own functions are asked."""

from __future__ import annotations

from handfast.payloads.cutting import REASON_CHARACTERS
from handfast.payloads.evaluation import HandleMaxTurns, HandleRefusal
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import ModelReply
from handfast.workflows.frame.frame import Failure, Frame, Reached
from handfast.workflows.loop import guardrails, limits
from handfast.workflows.state.run_state import RunState
from handfast.workflows.tasks.settle import Cancelled, Done
from handfast.workflows.tasks.timeouts import PART_OF_RUN
from handfast.workflows.tasks.work import Work


class LastWords:
    """Ends one frame at its limit of turns, or at a refusal."""

    def __init__(self, state: RunState, frame: Frame, work: Work) -> None:
        self._state = state
        self._frame = frame
        self._work = work

    async def at_limit(self, limit: Reached) -> None:
        """Let `on_max_turns` say what the run ends with."""
        arg = HandleMaxTurns(origin=self._state.origin(self._frame), limit=limit.limit)
        failure = limits.failure(self._frame, limit)
        await self._ask(arg, "on_max_turns", failure)

    async def refused(self, reply: ModelReply) -> None:
        """End at a refusal: by `on_refusal`, where the agent has one."""
        text = refusal_of(reply.items) or ""
        failure = Failure(type="ModelRefusal", message=f"the model refused: {text[:REASON_CHARACTERS]}")
        if reply.refusal != "handled":
            self._frame.failure = failure
            return
        await self._ask(HandleRefusal(origin=self._state.origin(self._frame), block=reply.block), "on_refusal", failure)

    async def _ask(self, arg: HandleMaxTurns | HandleRefusal, function: str, failure: Failure) -> None:
        frame = self._frame
        frame.phase = "closing"
        settled = await self._work.evaluate(arg, f"{frame.agent} · {function}", PART_OF_RUN)
        if isinstance(settled, Cancelled):
            frame.failure = Failure(type="Cancelled", message=f"{function} was cancelled")
            return
        said = settled.value if isinstance(settled, Done) else None
        if said is None or said.closing is None:
            problem = f"could not be asked: {settled.message}" if not isinstance(settled, Done) else None
            problem = said.problem if said is not None else problem
            why = "" if problem is None else f"; {function} {problem}"
            frame.failure = Failure(type=failure.type, message=f"{failure.message}{why}")
            return
        if said.closing.text is not None:
            self._append(said.closing.text)
        frame.output = said.closing.output
        # Output guardrails watch the model, and this is the application's own word; the input's are still waited for.
        frame.phase = "checking"
        guardrails.settle(frame)

    def _append(self, text: str) -> None:
        item: JsonObject = {"type": "message", "role": "assistant", "content": text}
        self._frame.blocks.append(self._state.new_block([item]))


def refusal_of(items: list[JsonObject]) -> str | None:
    """What a reply refuses with; None where it is no refusal."""
    for item in items:
        parts = item.get("content") if item.get("type") == "message" else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict) and part.get("type") == "refusal":
                return str(part.get("refusal"))
    return None
