"""Going on in a fresh history: when, at which point, and what is taken along.

A quiet point is one at which no activity is under way in any loop; requests may be open. Everything that a loop knows
is data by then, so that the next history begins where this one ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from pydantic import BaseModel
from temporalio import workflow

from handfast.payloads.artifacts import Artifact
from handfast.payloads.carry import CARRY_BYTES, Carry
from handfast.payloads.guardrails import kept
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.usage import RequestUsage
from handfast.workflows.continuation.archive import archive_segment
from handfast.workflows.continuation.packs import Packer
from handfast.workflows.frame.frame import Failure, Frame
from handfast.workflows.ledger.ledger import LedgerState
from handfast.workflows.state.mailbox import MailboxState
from handfast.workflows.state.notifications import NotifierState
from handfast.workflows.state.run_state import RunState
from handfast.workflows.tasks.intake import SignalTally
from handfast.workflows.tasks.work import Work

POSTPONED_EVENTS: Final = 500
"""After how many further events it is tried again where the state could not be taken along."""
LATEST_EVENTS: Final = 10_000
"""Events at which that ends the run: near 24,000 a replay no longer fits into a workflow task."""
TOLD_WITHIN: Final = timedelta(seconds=5)
"""How long a run that leaves its history waits for what people are being told; what is left is told in the next one."""
ANOTHER_TASK_S: Final = 0.001
"""After it another workflow task comes."""


class CarriedState(BaseModel):
    """A `RunState` as data.

    Attributes:
        active: Frames that a driver was at work on.
        unlimited: Frames whose caller lifted the agent's own limit of turns.
        attributes: Search attributes that the namespace has, where that is known.
        archives: Workers have an archive.
        signals: What was read of its signals.
        keeps: Workers keep outside the history what is too large for it.
        shown: Bytes that open requests take in the memo.
        mailbox: What became of messages.
        notifier: What people are to be told of.
        own: What the workflow around it added.
        left_version: The workers' version, where a history of that version was left for a newer one's sake.
    """

    frames: list[Frame]
    active: list[str]
    next_frame: int
    unlimited: list[str]
    labels: dict[str, str]
    segment_events: int
    ledger: LedgerState
    spending: list[tuple[str, RequestUsage]]
    attributes: list[str] | None
    keeps: bool
    shown: dict[str, int]
    blocks: dict[str, list[JsonObject]] = {}
    packs: dict[str, Artifact] = {}
    own: JsonObject = {}
    mailbox: MailboxState = MailboxState()
    notifier: NotifierState | None = None
    archives: bool = False
    left_version: str | None = None
    signals: SignalTally = SignalTally()


def restored(prefix: str, carry: Carry) -> tuple[RunState, JsonObject]:
    """The state that a former history ended with, and what the workflow had added.

    Raises:
        ValueError: This version cannot read it. That is no reason to end a run: the workflow task fails, and another
            worker may take it.
    """
    carried = CarriedState.model_validate_json(carry.text())
    state = RunState(prefix, carried.segment_events, carried.ledger, carried.mailbox)
    state.frames, state.next_frame = carried.frames, carried.next_frame
    state.active = set(carried.active)
    state.unlimited_frames = set(carried.unlimited)
    state.labels = carried.labels
    state.leaving.left = carried.left_version
    state.keeps, state.archives = carried.keeps, carried.archives
    state.transcript.restore(carried.blocks, carried.packs)
    state.spending.restore(carried.spending)
    state.signals = carried.signals
    state.publisher.restore(carried.attributes, carried.shown)
    if carried.notifier is not None:
        state.notifier.restore(carried.notifier)
    for request in state.ledger.book.open_requests():
        if not state.publisher.in_memo(request.id):
            state.ledger.book.unpublished[request.id] = request
    for frame in state.frames:
        state.works[frame.id] = Work(state.marks)
    return state, carried.own


class Carrier:
    """Brings a workflow to a quiet point, and its state into the form in which it travels."""

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._archived = False
        self._told = False
        self._packer = Packer(state)

    async def carry(
        self, done: Callable[[], bool], may_leave: Callable[[], bool], own: Callable[[], JsonObject]
    ) -> Carry | None:
        """Wait until the history is long enough and all is quiet, and return what is to be taken along.

        Args:
            done: There is nothing to carry any more: the wait ends with None.
            may_leave: Nothing else of the workflow is under way.
            own: What it adds.
        """
        state = self._state
        state.leaving.begin(may_leave)
        # No `finally`: see `AgentRun.run`.
        try:
            carry = await self._carry(done, own)
        except asyncio.CancelledError:
            state.stay()
            raise
        if carry is None:
            state.stay()
        return carry

    async def _carry(self, done: Callable[[], bool], own: Callable[[], JsonObject]) -> Carry | None:
        state = self._state
        while True:
            await workflow.wait_condition(lambda: done() or self._ready)
            if not done() and state.told_in_this_task:
                # The SDK shows what was said before a cancel that came with it: leaving now would lose the cancel.
                await asyncio.sleep(ANOTHER_TASK_S)
            if done():
                return None
            if not self._ready or await self._packer.pack():
                continue  # meanwhile something may have come in
            # The drivers would take it in this very task, once here and once more in the next history.
            state.ledger.book.take_due(workflow.now())
            state.publish()
            if state.ledger.log.steps or state.ledger.book.unpublished:
                await asyncio.sleep(ANOTHER_TASK_S)
                continue  # more than one task's commands can carry
            if await self._notified() or state.notifier.lighten(workflow.now()):
                continue  # likewise
            if await self._archive():
                continue  # likewise
            carry = self._carried(own())
            if len(carry.state) <= CARRY_BYTES:
                return carry
            self._postpone(len(carry.state))

    @property
    def _ready(self) -> bool:
        return self._state.leaving.due and self._state.quiet

    async def _notified(self) -> bool:
        """Let people be told first, so that they are not told again in the next history; whether that was waited for.

        Raises:
            asyncio.CancelledError: A cancel came in the meantime.
        """
        if self._told or self._state.notifier.idle:
            return False
        self._told = True
        if await self._state.notifier.settle(TOLD_WITHIN):
            raise asyncio.CancelledError
        return True

    async def _archive(self) -> bool:
        """Have this history archived once it has closed; whether anything was done.

        Raises:
            asyncio.CancelledError: A cancel came in the meantime.
        """
        if self._archived or not self._state.archives:
            return False
        self._archived = True
        if await archive_segment(self._state):
            raise asyncio.CancelledError
        return True

    def _postpone(self, size: int) -> None:
        """Go on in this history for a while; a run that cannot shed its weight in time fails."""
        length = workflow.info().get_current_history_length()
        self._state.leaving.postpone(length + POSTPONED_EVENTS)
        if length >= LATEST_EVENTS:
            failure = Failure(
                type="ConversationTooLarge",
                message=f"the conversation takes {size:,} bytes compressed, and {CARRY_BYTES:,} can go on into a fresh "
                "history; give the workers' HandfastPlugin artifacts=…, or the agent a compaction",
                facts={"bytes": size, "limit": CARRY_BYTES},
            )
            self._state.too_heavy = failure
            for frame in self._state.frames:
                if frame.id in self._state.active:
                    frame.fail(failure)
        self._state.ledger_changed()

    def _carried(self, own: JsonObject) -> Carry:
        state = self._state
        _drop_finished(state)
        needed = {
            *(frame.request for frame in state.frames if frame.request is not None),
            *(
                each
                for frame in state.frames
                for call in frame.calls
                for each in (call.request, call.released_by)
                if each
            ),
        }
        carried = CarriedState(
            frames=state.frames,
            active=sorted(state.active),
            next_frame=state.next_frame,
            unlimited=sorted(state.unlimited_frames),
            labels=state.labels,
            segment_events=state.leaving.segment_events,
            ledger=state.ledger.state.carried(needed),
            spending=state.spending.carried(),
            attributes=state.publisher.carried(),
            keeps=state.keeps,
            archives=state.archives,
            signals=state.signals,
            shown=state.publisher.shown,
            own=own,
            mailbox=state.mailbox.state,
            left_version=state.leaving.carried,
            notifier=state.notifier.carried() if state.notifier.wanted else None,
        )
        carried.blocks, carried.packs = state.transcript.carried(carried.model_dump_json())
        return Carry.of(carried.model_dump_json())


def _drop_finished(state: RunState) -> None:
    """Forget loops that have ended. What they have spent and what guardrails said in them is kept above them."""
    needed = {call.child for frame in state.frames for call in frame.calls if call.state != "settled"}
    for frame in reversed(list(state.frames)):
        over = frame.phase == "finished" or frame.failure is not None
        if not over or frame.lasts or frame.id in needed or frame.id in state.active:
            continue
        if any(other.parent == frame.id for other in state.frames):
            continue
        if frame.key is not None:  # whoever asks for it again gets its result
            frame.blocks, frame.earlier, frame.cursor, frame.seen = [], [], 0, None
            continue
        if frame.parent is not None:
            above = state.frame(frame.parent)
            above.nested_usage = above.nested_usage.plus(frame.usage).plus(frame.nested_usage)
            above.guardrails = kept([*frame.guardrails, *above.guardrails])
            state.spending.move(frame.id, above.id)
        state.forget(frame)
