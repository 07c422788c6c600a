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
from handfast.workflows.driver.call_questions import about
from handfast.workflows.driver.endings import CallEndings
from handfast.workflows.frame.frame import Call, Failure, Frame
from handfast.workflows.ledger.log import WHY_CHARACTERS
from handfast.workflows.loop.messages import RefuseMessages
from handfast.workflows.state.run_state import RunState
from handfast.workflows.tasks import timeouts
from handfast.workflows.tasks.settle import Done
from handfast.workflows.tasks.work import Work

DEEPEST: Final = 32
"""Agents below agents: one more is refused, so that agents that call each other for ever come to an end."""

Drive = Callable[[Frame], Coroutine[Any, Any, None]]


AnswerT = TypeVar("AnswerT")


class NestedAgents:
    """Runs the nested loops of one frame's calls."""

    def __init__(self, state: RunState, frame: Frame, work: Work, endings: CallEndings, drive: Drive) -> None:
        """Take over what the frame has.

        Args:
            state: Shared by all frames.
            frame: The one whose calls these are.
            work: Where the nested loops run.
            endings: What becomes of calls that have ended.
            drive: Drives a child frame until it has finished or failed.
        """
        self._state = state
        self._frame = frame
        self._work = work
        self._endings = endings
        self._drive = drive

    async def run(self, call: Call) -> None:
        """Run a call's nested loop to its end; enters one that is under way again."""
        try:
            child = self._state.frame(call.child) if call.child is not None else await self._begin(call)
            if child is None:
                return
            if call.cancelling is not None:
                for frame in self._state.under(child):
                    self._state.ledger.book.withdraw_all(frame.id, workflow.now(), "its call was cancelled")
                    self._state.mailbox.refuse(frame, RefuseMessages("ended", "its call was cancelled"), workflow.now())
                    frame.fail(Failure(type="Cancelled", message="it was cancelled"))
                self._endings.cancelled(call)
                return
            await self._work.child(call.call_id, self._drive(child))
        except asyncio.CancelledError:
            self._endings.cancelled(call)
            return
        if child.failure is not None:
            await self._failed(call, child, child.failure)
        else:
            await self._finished(call, child)

    async def _begin(self, call: Call) -> Frame | None:
        if len(self._frame.agent_path) > DEEPEST:
            self._endings.settle(call, f"Error: agents may call each other {DEEPEST} levels deep at most.")
            return None
        if call.plan.input == "built":
            block = await self._built(call)
            if block is None:
                return None
        else:
            arguments = self._state.arguments_of(self._frame, call)
            said = arguments.get("input") if call.plan.input is None else None
            # A person's arguments are checked by whatever agent tool is deployed by then: it may take others.
            text = said if isinstance(said, str) else json.dumps(arguments, ensure_ascii=False)
            block = self._state.new_block([user_message(text)])
        child = self._state.new_child(self._frame, str(call.plan.agent), block)
        if call.plan.max_turns is not None:
            child.max_turns = call.plan.max_turns
        call.child, child.parent_call = child.id, call.call_id
        return child

    async def _built(self, call: Call) -> str | None:
        """The block of the input that the agent tool makes; None where the call has been settled instead."""
        arg = about(call, self._frame, self._state, BuildInput)
        made = await self._evaluate(arg, f"building the input of {call.tool}")
        if made is None or made.items is None or made.block is None:
            problem = made.problem if made is not None else "its input could not be built"
            self._tool_failed(call, f"Error: {call.tool} did not start: {problem}")
            return None
        return self._state.transcript.add(made.block, made.items)

    async def _finished(self, call: Call, child: Frame) -> None:
        if not call.plan.extracted:
            output = child.output
            self._endings.ran(call, output)
            self._endings.settle(call, output if isinstance(output, str) else json.dumps(output, ensure_ascii=False))
            return
        arg = ExtractOutput(
            origin=self._state.origin(self._frame),
            tool=call.tool,
            call_id=call.call_id,
            nested=self._state.origin(child),
            output=self._state.new_block([{"type": "final_output", "output": child.output}]),
        )
        made = await self._evaluate(arg, f"extracting the output of {call.tool}")
        if made is None or made.problem is not None:
            problem = made.problem if made is not None and made.problem else "Error: its output could not be extracted"
            self._tool_failed(call, problem)
        else:
            self._endings.ran(call, made.output)
            self._endings.settle(call, made.output)

    async def _failed(self, call: Call, child: Frame, failure: Failure) -> None:
        text = f"The agent {child.agent} failed ({failure.type}): {failure.message}"
        self._frame.failed_calls[call.call_id] = f"{failure.type}: {failure.message}"[:WHY_CHARACTERS]
        if call.plan.on_error == "word" and not self._work.ending:
            arg = WordFailure(
                origin=self._state.origin(self._frame),
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
        self._endings.settle(call, output)
        if call.plan.on_error == "fail":
            self._frame.fail(failure or Failure(type="ToolFailed", message=f"{call.tool}: {output}"))

    async def _evaluate(self, asked: Question[AnswerT], what: str) -> AnswerT | None:
        settled = await self._work.evaluate(asked, f"{self._frame.agent} · {what}", timeouts.PART_OF_RUN)
        return settled.value if isinstance(settled, Done) else None
