"""Ends a frame without an answer of the model: its agent's own functions are asked for one."""

from __future__ import annotations

from handfast.payloads.cutting import REASON_CHARACTERS
from handfast.payloads.evaluation import HandleMaxTurns, HandleRefusal
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import ModelReply
from handfast.workflows.driver.frame_loop import FrameLoop
from handfast.workflows.frame.frame import Failure, Reached
from handfast.workflows.frame.items import refusal_text
from handfast.workflows.loop import guardrails, limits
from handfast.workflows.tasks.await_activity import Cancelled, Done
from handfast.workflows.tasks.timeouts import PART_OF_RUN


class LastWords:
    """Ends one frame at its limit of turns, or at a refusal."""

    def __init__(self, loop: FrameLoop) -> None:
        """Take the loop that ends."""
        self._loop = loop
        self._frame = loop.frame

    async def at_limit(self, limit: Reached) -> None:
        """End at a limit with the answer of `on_max_turns`."""
        arg = HandleMaxTurns(origin=self._loop.origin, limit=int(limit.limit))
        failure = limits.failure(self._frame, limit)
        await self._ask(arg, "on_max_turns", failure)

    async def refused(self, reply: ModelReply) -> None:
        """End at a refusal: with the answer of `on_refusal`, or as a failure."""
        text = refusal_text(reply.items) or ""
        failure = Failure(type="ModelRefusal", message=f"the model refused: {text[:REASON_CHARACTERS]}")
        if reply.refusal != "handled":
            self._frame.failure = failure
            return
        await self._ask(HandleRefusal(origin=self._loop.origin, block=reply.block), "on_refusal", failure)

    async def _ask(self, arg: HandleMaxTurns | HandleRefusal, function: str, failure: Failure) -> None:
        frame = self._frame
        frame.phase = "closing"
        ending = await self._loop.ask(arg, function, PART_OF_RUN)
        if isinstance(ending, Cancelled):
            frame.failure = Failure(type="Cancelled", message=f"{function} was cancelled")
            return
        said = ending.value if isinstance(ending, Done) else None
        if said is None or said.closing is None:
            problem = f"could not be asked: {ending.message}" if not isinstance(ending, Done) else None
            problem = said.problem if said is not None else problem
            why = "" if problem is None else f"; {function} {problem}"
            frame.failure = Failure(type=failure.type, message=f"{failure.message}{why}")
            return
        if said.closing.text is not None:
            self._append(said.closing.text)
        frame.output = said.closing.output
        # Output guardrails watch the model, and this is the application's own word; the input's are still waited for.
        frame.phase = "checking"
        guardrails.finish_if_checked(frame)

    def _append(self, text: str) -> None:
        item: JsonObject = {"type": "message", "role": "assistant", "content": text}
        self._frame.blocks.append(self._loop.transcript.new_block([item]))
