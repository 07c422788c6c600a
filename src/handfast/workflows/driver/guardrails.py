"""One frame's guardrails: each is an activity, and what it says is written into the frame."""

from __future__ import annotations

import json
from typing import Any

from temporalio import workflow

from handfast.payloads.guardrails import CheckInput, CheckOutput, Judged, TellEnd
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.model_call import Origin
from handfast.payloads.transcript import user_message
from handfast.workflows.driver.frame_loop import FrameLoop
from handfast.workflows.frame import withdrawal
from handfast.workflows.frame.frame import Guard, Queued
from handfast.workflows.loop import guardrails
from handfast.workflows.state.mailbox import Mailbox
from handfast.workflows.tasks import timeouts
from handfast.workflows.tasks.await_activity import Cancelled, Done, Failed
from handfast.workflows.tasks.command_budget import CommandBudget


class Guardrails:
    """Asks the guardrails of one frame."""

    def __init__(self, loop: FrameLoop, budget: CommandBudget, mailbox: Mailbox) -> None:
        """Take the loop, and the parts that its guardrails are asked and answered with."""
        self._loop = loop
        self._frame = loop.frame
        self._budget = budget
        self._mailbox = mailbox

    async def run(self, guard: Guard) -> None:
        """Ask a guardrail about the frame's input or output."""
        if guard.kind == "told":
            await self._tell_end(guard)
            return
        asked = self._about_input(guard) if guard.kind == "input" else self._about_output(guard)
        judged = await self._judged(guard, asked, f"{guard.agent} · {guard.kind} guardrail · {guard.name}")
        if not self._loop.work.ending:
            self._take(guard, judged)

    async def _tell_end(self, guard: Guard) -> None:
        """Let hooks hear of the output; whatever becomes of that, it stands."""
        asked = TellEnd(**self._where_output(guard))
        await self._loop.work.evaluate(asked, f"{guard.agent} · hooks · end", timeouts.GUARDRAIL)
        guard.state = "done"

    async def check(self, message: Queued, guard: Guard) -> None:
        """Ask an input guardrail about a message. A message that it stops is refused, and the run goes on."""
        frame = self._frame
        asked = CheckInput(origin=self._origin(guard), guardrail=guard.name, block=message.block)
        judged = await self._judged(guard, asked, f"{guard.agent} · guardrail {guard.name} · message")
        if self._loop.work.ending or message not in frame.queue:
            return
        refusal = guardrails.take_message(frame, message, guard, judged)
        if refusal is not None:
            self._mailbox.refuse_one(frame, message, refusal, workflow.now())
        elif judged.outcome == "replace":
            message.block = self._block_of(judged.value)

    async def _judged(self, guard: Guard, asked: CheckInput | CheckOutput, summary: str) -> Judged:
        ending = await self._loop.work.evaluate(asked, summary, timeouts.GUARDRAIL)
        match ending:
            case Done(judged):
                return judged
            case Cancelled():
                return Judged(outcome="error", reason="it was cancelled")
            case Failed(message=message):
                return Judged(outcome="error", reason=message)

    def _origin(self, guard: Guard) -> Origin:
        return self._loop.origin.model_copy(update={"agent": guard.agent})

    def _about_input(self, guard: Guard) -> CheckInput:
        frame = self._frame
        return CheckInput(origin=self._origin(guard), guardrail=guard.name, block=frame.input or frame.blocks[0])

    def _about_output(self, guard: Guard) -> CheckOutput:
        return CheckOutput(guardrail=guard.name, **self._where_output(guard))

    def _where_output(self, guard: Guard) -> dict[str, Any]:
        """Return the fields of `AboutOutput`."""
        frame = self._frame
        origin = self._origin(guard)
        if frame.answer is not None:
            return {"origin": origin, "reply": frame.answer, "structured": frame.answer_structured}
        arguments, at = self._budget.placed({"output": frame.output}, None)
        return {"origin": origin, "arguments": arguments, "at": at}

    def _take(self, guard: Guard, judged: Judged) -> None:
        frame = self._frame
        guardrails.take(frame, guard, judged)
        if guard.kind == "output" and judged.outcome != "allow":
            self._withdraw(judged)
        elif judged.outcome == "replace":
            self._replace_input(judged.value)

    def _withdraw(self, judged: Judged) -> None:
        """Take an answer out of the conversation, or put another in its place; nobody is to read it again."""
        frame, transcript = self._frame, self._loop.transcript
        text: str | None = None
        if judged.outcome == "replace":
            text = withdrawal.text_of(judged.value, frame.answer_structured)
        one = len(frame.answered_by) == 1
        left: list[str] = []
        for old in frame.answered_by:
            items = transcript.items(old)
            new = transcript.replace(frame, old, withdrawal.without_answer(items, text if one else None))
            if new is not None:
                left.append(new)
            held = json.dumps(items)
            frame.artifacts = [each for each in frame.artifacts if each not in held]  # its whole is not read on either
        if text is not None and not one:
            left.append(transcript.new_block([withdrawal.answer(text)]))
            frame.blocks.append(left[-1])
        frame.answered_by, frame.answer, frame.response_id = left, None, None  # the provider has the answer as it was
        if judged.outcome == "replace":
            frame.output = judged.value

    def _replace_input(self, value: JsonValue) -> None:
        """Put *value* in the place of the input, which the model has not seen."""
        frame = self._frame
        block = self._block_of(value)
        frame.blocks[0 if frame.input is None else frame.blocks.index(frame.input)] = block
        frame.input = None if frame.input is None else block
        frame.epoch += 1

    def _block_of(self, value: JsonValue) -> str:
        return self._loop.transcript.new_block([user_message(value)] if isinstance(value, str) else _objects(value))


def _objects(value: JsonValue) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
