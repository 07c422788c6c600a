"""Derive how the calls and loops of a run end.

Where no Temporal event shows that a nested loop, or an agent of a user's own workflow, has ended, the last reply and
the guardrails tell it, once the workflow has taken in both; the next model call's input names the nested loops that
failed. A command of its own for each end would have cost every run two events.
"""

from __future__ import annotations

import json

from handfast.history.events.loops import CallView, Emitter, LoopView
from handfast.payloads.events import (
    AgentFinished,
    HandedOver,
    LoopEnded,
    ModelFailed,
    RunFinished,
    ToolFailed,
    ToolNotRun,
    ToolOutput,
)
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.workflows.loop.next_steps import HANDOFF_IGNORED


class LoopEnds:
    """Adds the ends of loops that no Temporal event shows.

    Attributes:
        loops: By frame id.
        tells_roots: A root loop's end is told when it is reached; otherwise the workflow's end tells it.
    """

    def __init__(self, loops: dict[str, LoopView]) -> None:
        self.loops = loops
        self.tells_roots = False

    def close(self, loop: LoopView, call: CallView, *, ok: bool = False, value: JsonValue = None) -> None:
        """Close a call that has its output; the agent's `after_tools` may end the loop with it."""
        call.closed, call.ok, call.value, call.running = True, ok, value, False
        policy = loop.after_tools
        if policy is None or policy.kind == "ask" or any(loop.open_calls()):
            return
        for each in loop.calls.values():
            if each.ok and (policy.kind == "stop_on_first" or each.tool in (policy.names or ())):
                self.answer(loop, each.value)
                return

    def answer(self, loop: LoopView, output: JsonValue, guards: list[str] | None = None) -> None:
        """Note the output of a loop; it stands once the output guardrails have let it pass."""
        loop.answered, loop.output = True, output
        loop.guards += guards or []

    def settle(self, out: Emitter) -> None:
        """End loops that have their output, whose guardrails have all answered, and for which no message waits.

        Called where the workflow has taken in everything before it: a message that came together with the last reply
        lets the loop go on.
        """
        ended = True
        while ended:
            ended = False
            for loop in list(self.loops.values()):
                if loop.answered and not loop.guards and not loop.queued and not loop.over and self._told(loop):
                    self.end(loop, "completed", out, output=loop.output)
                    ended = True

    def _told(self, loop: LoopView) -> bool:
        return loop.nested or self.tells_roots

    def end(
        self,
        loop: LoopView,
        status: LoopEnded,
        out: Emitter,
        *,
        output: JsonValue = None,
        failure: str | None = None,
        message: str | None = None,
    ) -> None:
        """Add a loop's end, once, and the end of the call that it answers."""
        if loop.over or not self._told(loop):
            return
        loop.over = True
        if not loop.nested:
            out.add(RunFinished, **loop.fields(), status=status, output=output, failure=failure, message=message)
            return
        parent = self.loops.get(loop.parent or "")
        call = parent.calls.get(loop.parent_call or "") if parent is not None else None
        out.add(
            AgentFinished,
            **loop.fields(),
            status=status,
            parent=loop.parent,
            call_id=loop.parent_call,
            tool=call.tool if call else None,
            output=output,
            failure=failure,
            message=message,
        )
        if parent is not None and call is not None and not call.closed:
            if status == "failed" and not (call.plan is not None and call.plan.on_error == "word"):
                self.failed(parent, call, f"The agent {loop.agent} failed ({failure}): {message}", out)
            elif status == "completed" and not (call.plan is not None and call.plan.extracted):
                self._answer_call(parent, call, loop.output, out)

    def _answer_call(self, loop: LoopView, call: CallView, output: JsonValue, out: Emitter) -> None:
        text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
        out.add(ToolOutput, **loop.fields_of(call), output=text)
        self.close(loop, call, ok=True, value=output)

    def failed(
        self, loop: LoopView, call: CallView, output: JsonValue, out: Emitter, message: str | None = None
    ) -> None:
        """Close a call that ran and failed; where its tool says so, the loop fails with it."""
        out.add(ToolFailed, **loop.fields_of(call), why="error", output=output, message=message)
        self.close(loop, call)
        if call.plan is not None and call.plan.on_error == "fail":
            self.end(loop, "failed", out, failure="ToolFailed", message=f"{call.tool}: {output}")

    def end_all(self, out: Emitter, status: LoopEnded = "ended") -> None:
        """End all that is still open: nothing is at work any more, so it ended without an event of its own."""
        for loop in list(self.loops.values()):
            if not loop.nested:
                self.end(loop, status, out)

    # --- the end of a turn ---

    def nested_failures(self, loop: LoopView, failed: JsonObject, out: Emitter) -> None:
        """Read from a model call's input which nested loops failed in the turn before it."""
        for call_id, why in failed.items():
            call = loop.calls.get(call_id)
            child = self.loops.get(call.child or "") if call is not None else None
            if child is not None:
                kind, _, message = str(why).partition(": ")
                self.end(child, "failed", out, failure=kind, message=message)

    def take_back(self, loop: LoopView, turn: int, out: Emitter) -> None:
        """Take back a reply that the model is asked for again: a message came before it, so it does not count."""
        if turn < loop.turn:
            told = "a message came before the reply, which does not count"
            out.add(ModelFailed, **loop.fields(), failure="Interrupted", message=told)
            loop.turn, loop.calls, loop.answered = turn, {}, False

    def finish_turn(self, loop: LoopView, now_agent: str, out: Emitter) -> None:
        """Close the calls of a turn that is over: an open one has ended without an event of its own."""
        taken = False
        for call in list(loop.open_calls()):
            child = self.loops.get(call.child or "")
            if child is not None and not child.over:
                self.end(child, "cancelled" if call.cancelling else "ended", out)
            if call.closed:
                continue
            kind = call.plan.kind if call.plan is not None else None
            if kind == "handoff" and not taken and call.plan and call.plan.agent == now_agent:
                taken = True
                out.add(HandedOver, **loop.fields(), to=now_agent, call_id=call.call_id, tool=call.tool)
            elif kind == "handoff":
                out.add(ToolNotRun, **loop.fields_of(call), why="ignored", output=HANDOFF_IGNORED)
            elif not (call.plan is not None and call.plan.hosted):
                out.add(ToolNotRun, **loop.fields_of(call), why="settled")
            call.closed = True
        loop.answered, loop.over = False, False  # a message may have come when all was said
        if now_agent != loop.agent and not taken:
            out.add(HandedOver, **loop.fields(), to=now_agent)
        if now_agent != loop.agent:
            loop.agent, loop.agent_path = now_agent, [*loop.agent_path[:-1], now_agent]
