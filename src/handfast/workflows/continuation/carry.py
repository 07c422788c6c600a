"""Going on in a fresh history: when, at which point, and what is taken along.

A quiet point is one at which no activity is under way in any loop; requests may be open. Everything that a loop knows
is data by then, so that the next history begins where this one ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from temporalio import workflow

from handfast.payloads.continuation import CARRY_BYTES, Carry
from handfast.payloads.guardrails import kept
from handfast.workflows.continuation.archive import archive_segment
from handfast.workflows.continuation.packs import Packer
from handfast.workflows.frame.frame import Failure
from handfast.workflows.state.run_state import RunState
from handfast.workflows.state.runs import Runs
from handfast.workflows.state.transcript import TranscriptState
from handfast.workflows.tasks.command_budget import next_task

POSTPONED_EVENTS: Final = 500
"""After how many further events it is tried again where the state could not be taken along."""
LATEST_EVENTS: Final = 10_000
"""Events at which that ends the run: near 24,000 a replay no longer fits into a workflow task."""
TOLD_WITHIN: Final = timedelta(seconds=5)
"""Longest wait of a run that leaves its history for notifications under way; those left are told in the next one."""


def restored(carry: Carry) -> RunState:
    """Read the state that the former history ended with.

    Raises:
        ValueError: This version cannot read it. That is no reason to end a run: the workflow task fails, and another
            worker may take it.
    """
    return RunState.model_validate_json(carry.text())


class Carrier:
    """Brings a workflow to a quiet point, and takes its state along from there."""

    def __init__(self, runs: Runs) -> None:
        """Take the runs that go on elsewhere."""
        self._runs = runs
        self._archived = False
        self._told = False
        self._packer = Packer(runs)

    async def carry(self, done: Callable[[], bool], may_leave: Callable[[], bool]) -> Carry | None:
        """Wait until the history may be left, and return the state for the next one.

        Args:
            done: There is nothing to carry any more: the wait ends with None.
            may_leave: Nothing else of the workflow is under way.
        """
        runs = self._runs
        runs.segment.begin(may_leave)
        # No `finally`: see `AgentRun.run`.
        try:
            carry = await self._carry(done)
        except asyncio.CancelledError:
            runs.stay()
            raise
        if carry is None:
            runs.stay()
        return carry

    async def _carry(self, done: Callable[[], bool]) -> Carry | None:
        runs = self._runs
        while True:
            await workflow.wait_condition(lambda: done() or self._ready)
            if not done() and runs.told_in_this_task:
                # The SDK shows what was said before a cancel that came with it: leaving now would lose the cancel.
                await next_task()
            if done():
                return None
            if not self._ready or await self._packer.pack():
                continue  # meanwhile something may have come in
            # The drivers would take it in this very task, once here and once more in the next history.
            runs.ledger.book.take_due(workflow.now())
            runs.publish()
            if runs.ledger.log.steps or runs.ledger.book.unpublished:
                await next_task()
                continue  # more than one task's commands can carry
            if await self._notified() or runs.notifier.lighten(workflow.now()):
                continue  # likewise
            if await self._archive():
                continue  # likewise
            carry = self._carried()
            if len(carry.state) <= CARRY_BYTES:
                return carry
            self._postpone(len(carry.state))

    @property
    def _ready(self) -> bool:
        return self._runs.segment.due and self._runs.quiet

    async def _notified(self) -> bool:
        """Let people be notified, so that the next history does not tell them again; return whether that took time.

        Raises:
            asyncio.CancelledError: A cancel came in the meantime.
        """
        if self._told or self._runs.notifier.idle:
            return False
        self._told = True
        if await self._runs.notifier.flush(TOLD_WITHIN):
            raise asyncio.CancelledError
        return True

    async def _archive(self) -> bool:
        """Have this history archived once it has closed; return whether anything was done.

        Raises:
            asyncio.CancelledError: A cancel came in the meantime.
        """
        if self._archived or not self._runs.state.deployment.archives:
            return False
        self._archived = True
        if await archive_segment(self._runs):
            raise asyncio.CancelledError
        return True

    def _postpone(self, size: int) -> None:
        """Go on in this history for a while; fail a run whose state does not get smaller in time."""
        length = workflow.info().get_current_history_length()
        self._runs.segment.postpone(length + POSTPONED_EVENTS)
        if length >= LATEST_EVENTS:
            failure = Failure(
                type="ConversationTooLarge",
                message=f"the conversation takes {size:,} bytes compressed, and {CARRY_BYTES:,} can go on into a fresh "
                "history; give the workers' HandfastPlugin artifacts=…, or the agent a compaction",
                facts={"bytes": size, "limit": CARRY_BYTES},
            )
            self._runs.too_heavy = failure
            for frame in self._runs.frames.driven:
                frame.fail(failure)
        self._runs.changed()

    def _carried(self) -> Carry:
        """Return the state for the next history, without what is no longer needed."""
        runs, state = self._runs, self._runs.state
        _drop_finished(runs)
        calls = [call for frame in runs.frames.all for call in frame.calls]
        needed = {
            *(frame.request for frame in runs.frames.all if frame.request is not None),
            *(each for call in calls for each in (call.request, call.released_by) if each is not None),
        }
        lean: dict[str, object] = {
            "ledger": state.ledger.carried(needed),
            "segment": runs.segment.carried(),
            "transcript": TranscriptState(),
        }
        if state.session is not None:
            standing = {block for frame in runs.frames.all for block in (*frame.blocks, *frame.earlier)}
            records = state.session.records.carried(standing, runs.transcript)
            lean["session"] = state.session.model_copy(update={"records": records})
        carried = state.model_copy(update=lean)
        carried.transcript = state.transcript.named_in(carried.model_dump_json())
        return Carry.of(carried.model_dump_json())


def _drop_finished(runs: Runs) -> None:
    """Forget loops that have ended. Their usage, and the results of their guardrails, are kept in the loop above."""
    frames = runs.frames.all
    needed = {call.child for frame in frames for call in frame.calls if call.state != "settled"}
    for frame in reversed(list(frames)):
        over = frame.phase == "finished" or frame.failure is not None
        if not over or frame.lasts or frame.id in needed or frame.driven:
            continue
        if any(other.parent == frame.id for other in frames):
            continue
        if frame.key is not None:  # whoever asks for it again gets its result
            frame.blocks, frame.earlier, frame.cursor, frame.seen = [], [], 0, None
            continue
        if frame.parent is not None:
            above = runs.frames.frame(frame.parent)
            above.nested_usage = above.nested_usage.plus(frame.usage).plus(frame.nested_usage)
            above.guardrails = kept([*frame.guardrails, *above.guardrails])
            runs.spending.move(frame.id, above.id)
        runs.forget(frame)
