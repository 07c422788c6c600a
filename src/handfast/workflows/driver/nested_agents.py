"""Nested agents: a call that is a loop of its own, as a child frame of the same table."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from temporalio import workflow

from handfast.payloads.evaluation import BuildInput, ExtractOutput, Question, WordFailure
from handfast.payloads.json_profile import JsonValue
from handfast.payloads.transcript import user_message
from handfast.workflows.driver.endings import CallEndings
from handfast.workflows.driver.frame_loop import FrameLoop
from handfast.workflows.frame.frame import Call, Failure, Frame
from handfast.workflows.frame.table import FrameTable
from handfast.workflows.ledger.ledger import Ledger
from handfast.workflows.ledger.log import WHY_CHARACTERS
from handfast.workflows.loop.messages import RefuseMessages
from handfast.workflows.state.mailbox import Mailbox
from handfast.workflows.tasks import timeouts
from handfast.workflows.tasks.await_activity import Done

DEEPEST: Final = 32
"""Agents below agents: one more is refused, so that agents that call each other for ever come to an end."""

Drive = Callable[[Frame], Coroutine[Any, Any, None]]


AnswerT = TypeVar("AnswerT")


class NestedAgents:
    """Runs the nested loops of one frame's calls, as child frames of the same table."""

    def __init__(
        self,
        loop: FrameLoop,
        frames: FrameTable,
        ledger: Ledger,
        mailbox: Mailbox,
        *,
        endings: CallEndings,
        drive: Drive,
    ) -> None:
        """Take the loop of the calls, and the parts that nested loops are begun and ended with.

        *drive* drives a child frame until it has finished or failed.
        """
        self._loop = loop
        self._frame = loop.frame
        self._frames = frames
        self._ledger = ledger
        self._mailbox = mailbox
        self._endings = endings
        self._drive = drive

    async def run(self, call: Call) -> None:
        """Run a call's nested loop to its end, or one that was under way in a former history."""
        try:
            child = self._frames.frame(call.child) if call.child is not None else await self._begin(call)
            if child is None:
                return
            if call.cancelling is not None:
                for frame in self._frames.under(child):
                    self._ledger.book.withdraw_all(frame.id, workflow.now(), "its call was cancelled")
                    self._mailbox.refuse(frame, RefuseMessages("ended", "its call was cancelled"), workflow.now())
                    frame.fail(Failure(type="Cancelled", message="it was cancelled"))
                self._endings.cancelled(call)
                return
            await self._loop.work.child(call.call_id, self._drive(child))
        except asyncio.CancelledError:
            self._endings.cancelled(call)
            return
        if child.failure is not None:
            await self._failed(call, child, child.failure)
        else:
            await self._finished(call, child)

    async def _begin(self, call: Call) -> Frame | None:
        if len(self._frame.agent_path) > DEEPEST:
            self._endings.set_output(call, f"Error: agents may call each other {DEEPEST} levels deep at most.")
            return None
        if call.plan.input == "built":
            block = await self._built(call)
            if block is None:
                return None
        else:
            arguments = self._loop.arguments.of(self._frame, call)
            said = arguments.get("input") if call.plan.input is None else None
            # A person's arguments are checked by whatever agent tool is deployed by then: it may take others.
            text = said if isinstance(said, str) else json.dumps(arguments, ensure_ascii=False)
            block = self._loop.transcript.new_block([user_message(text)])
        child = self._frames.new_child(self._frame, str(call.plan.agent), block)
        if call.plan.max_turns is not None:
            child.max_turns = call.plan.max_turns
        call.child, child.parent_call = child.id, call.call_id
        return child

    async def _built(self, call: Call) -> str | None:
        """Return the block of the input that the agent tool builds; None where the call has been settled instead."""
        made = await self._evaluate(self._loop.about(call, BuildInput), f"building the input of {call.tool}")
        if made is None or made.items is None or made.block is None:
            problem = made.problem if made is not None else "its input could not be built"
            self._tool_failed(call, f"Error: {call.tool} did not start: {problem}")
            return None
        return self._loop.transcript.add(made.block, made.items)

    async def _finished(self, call: Call, child: Frame) -> None:
        if not call.plan.extracted:
            output = child.output
            self._endings.ran(call, output)
            self._endings.set_output(
                call, output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
            )
            return
        arg = ExtractOutput(
            origin=self._loop.origin,
            tool=call.tool,
            call_id=call.call_id,
            nested=self._loop.identity.origin(child),
            output=self._loop.transcript.new_block([{"type": "final_output", "output": child.output}]),
        )
        made = await self._evaluate(arg, f"extracting the output of {call.tool}")
        if made is None or made.problem is not None:
            problem = made.problem if made is not None and made.problem else "Error: its output could not be extracted"
            self._tool_failed(call, problem)
        else:
            self._endings.ran(call, made.output)
            self._endings.set_output(call, made.output)

    async def _failed(self, call: Call, child: Frame, failure: Failure) -> None:
        text = f"The agent {child.agent} failed ({failure.type}): {failure.message}"
        self._frame.failed_calls[call.call_id] = f"{failure.type}: {failure.message}"[:WHY_CHARACTERS]
        if call.plan.on_error == "word" and not self._loop.work.ending:
            arg = WordFailure(
                origin=self._loop.origin,
                tool=call.tool,
                call_id=call.call_id,
                agent=child.agent,
                failure=failure.type,
                message=failure.message,
            )
            made = await self._evaluate(arg, f"wording the failure of {call.tool}")
            if made is not None and made.text is not None:
                text = made.text
        self._tool_failed(call, text, failure)

    def _tool_failed(self, call: Call, output: JsonValue, failure: Failure | None = None) -> None:
        self._endings.set_output(call, output)
        if call.plan.on_error == "fail":
            self._frame.fail(failure or Failure(type="ToolFailed", message=f"{call.tool}: {output}"))

    async def _evaluate(self, asked: Question[AnswerT], what: str) -> AnswerT | None:
        ending = await self._loop.ask(asked, what, timeouts.PART_OF_RUN)
        return ending.value if isinstance(ending, Done) else None
