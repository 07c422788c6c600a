"""Ends a turn whose calls all have their outputs: the model is called again, or the frame ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from handfast.payloads.evaluation import AskAfterTools
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.workflows.driver.frame_loop import FrameLoop
from handfast.workflows.frame.frame import Call, Failure
from handfast.workflows.loop import guardrails
from handfast.workflows.tasks import timeouts
from handfast.workflows.tasks.await_activity import Done, Failed

NEVER_READ: Final = ("unknown", "invalid")
"""Plans of calls whose arguments may be no JSON at all."""


class TurnEnd:
    """Applies the agent's `after_tools` to the turns of one frame."""

    def __init__(self, loop: FrameLoop) -> None:
        """Take the loop."""
        self._loop = loop
        self._frame = loop.frame

    def take(self, calls: Sequence[Call]) -> None:
        """Decide what follows on a turn whose calls are all settled."""
        frame, policy = self._frame, self._frame.after_tools
        if policy is None or frame.failure is not None or frame.phase != "model" or frame.stop is not None:
            return
        if policy.kind == "ask":
            frame.phase = "ending"
            blocks = [self._loop.transcript.new_block([self._result(call)]) for call in calls]
            self._loop.work.spawn(self._ask(blocks, [call.output for call in calls]))
            return
        for call in calls:
            if call.ok and (policy.kind == "stop_on_first" or call.tool in (policy.names or ())):
                guardrails.finish(self._frame, call.value, blocks=[call.output])
                return

    async def _ask(self, blocks: list[str], outputs: Sequence[str | None]) -> None:
        frame = self._frame
        arg = AskAfterTools(origin=self._loop.origin, results=blocks)
        ending = await self._loop.ask(arg, "what follows on its tools", timeouts.AFTER_TOOLS)
        self._loop.transcript.forget(blocks)
        match ending:
            case Done(answer):
                if answer.problem is not None:
                    self._fail(answer.problem)
                elif answer.final:
                    guardrails.finish(frame, answer.output, blocks=outputs)
                else:
                    frame.phase = "model"
            case Failed(message=message):
                self._fail(message)

    def _fail(self, problem: str) -> None:
        self._frame.fail(Failure(type="AfterToolsFailed", message=f"{self._frame.agent}: {problem}"))

    def _result(self, call: Call) -> JsonObject:
        output: JsonValue = call.value
        if not call.ok and call.output is not None:
            output = self._loop.transcript.items(call.output)[0].get("output")
        return {
            "type": "tool_result",
            "tool": call.tool,
            "call_id": call.call_id,
            "arguments": {} if call.plan.kind in NEVER_READ else self._loop.arguments.of(self._frame, call),
            "output": output,
            "ok": call.ok,
        }
