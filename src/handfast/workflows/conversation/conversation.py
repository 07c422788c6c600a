"""A conversation: one frame that is reopened for each message, in the order in which they came."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel
from temporalio import workflow

from handfast.errors import MessageRefusedError
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.requests import Transition
from handfast.payloads.runs import RunResult
from handfast.payloads.sessions import (
    CloseSession,
    MessageState,
    OnBusy,
    SessionInput,
    TakeBack,
    TakenBack,
    TurnFailure,
    TurnResult,
    TurnStatus,
)
from handfast.workflows.conversation.records import TurnRecord, TurnRecords
from handfast.workflows.conversation.turn_starts import TurnStarts
from handfast.workflows.driver.driver import Driver, failed
from handfast.workflows.frame import reopening, withdrawal
from handfast.workflows.frame.frame import Frame, Queued
from handfast.workflows.loop.messages import RefuseMessages
from handfast.workflows.state.run_state import RunState

_STATES: Final[dict[str, MessageState]] = {"placed": "working", "refused": "refused"}
CANCELLED: Final = RefuseMessages("ended", "the session was cancelled")
FAILED: Final = RefuseMessages("ended", "the session has failed")


class Talk(BaseModel):
    """What a session has to remember beside its frame, its ledger and its mailbox, where messages wait as *early*.

    Attributes:
        frame: The one that is reopened for each message; None before the session has begun.
        answering: Messages that the turn under way answers: the one that opened it, and those that steer it.
        closing: It was closed: it ends when what waits has been answered.
        starts: How the newest turns began.
    """

    frame: str | None = None
    on_message: OnBusy = "queue"
    answering: list[str] = []
    records: TurnRecords = TurnRecords()
    starts: TurnStarts = TurnStarts()
    closing: CloseSession | None = None


class Conversation:
    """Answers messages one after the other.

    Attributes:
        talk: All that has to last.
    """

    def __init__(self, state: RunState, talk: Talk) -> None:
        self._state = state
        self.talk = talk

    @property
    def frame(self) -> Frame | None:
        """The conversation's frame; None before the session has begun."""
        return None if self.talk.frame is None else self._state.frame(self.talk.frame)

    # --- its life ---

    def begin(self, given: SessionInput) -> None:
        """Enter the frame of the conversation, with what was said before."""
        frame = self._state.new_frame(given.model_copy(update={"input": given.import_items, "on_message": None}))
        frame.phase, frame.lasts = "finished", True
        frame.session_turns, frame.session_tokens = given.max_session_turns, given.max_session_tokens
        self._state.mailbox.early[:], frame.queue = frame.queue, []  # each message gets a turn of its own
        if given.segment_events is not None:
            self._state.leaving.after(given.segment_events)
        self.talk.frame, self.talk.on_message = frame.id, given.on_message

    async def run(self) -> RunResult:
        """Answer messages until the session is closed. Can be entered at any point: what is missing is looked up.

        Raises:
            ApplicationError: ``ConversationTooLarge``: it can neither go on in this history nor leave it.
            asyncio.CancelledError: The session was cancelled.
        """
        talk, state, frame = self.talk, self._state, self.frame
        mailbox = state.mailbox
        assert frame is not None
        while True:
            if not talk.answering:
                await workflow.wait_condition(
                    lambda: bool(mailbox.early) or talk.closing is not None or state.too_heavy is not None
                )
                if state.too_heavy is not None:
                    mailbox.refuse_early(FAILED, workflow.now())
                    raise failed(state.too_heavy, frame.spent_before)
                if not mailbox.early:
                    break
                self._open(frame, mailbox.early.pop(0))
            state.active.add(frame.id)
            await Driver(state, frame).drive()
            self._settle(frame)
        return RunResult(agent=frame.agent, turns=frame.turn, usage=frame.spent_before)

    def abandon(self) -> None:
        """Say of what is left that it gets no answer: the session was cancelled."""
        frame = self.frame
        if frame is not None and self.talk.answering:
            self._settle(frame)
        self._state.mailbox.refuse_early(CANCELLED, workflow.now())

    def close(self, given: CloseSession) -> None:
        """Take no more messages; end when those that were taken have been answered."""
        self.talk.closing = self.talk.closing or given

    def carried(self) -> JsonObject:
        """All that has to last, as it is taken into a fresh history."""
        frame = self.frame
        standing = set() if frame is None else {*frame.blocks, *frame.earlier}
        records = self.talk.records.carried(standing, self._state.transcript)
        return self.talk.model_copy(update={"records": records}).model_dump(mode="json")

    def status_of(self, message_id: str) -> TurnStatus:
        """Where a message stands."""
        result = self.talk.records.result_of(message_id, self._state.transcript)
        if result is not None:
            over: MessageState = "answered" if result.failure is None else "failed"
            gone = True if self.talk.records.records[message_id].taken_back else None
            return TurnStatus(message_id=message_id, state=over, result=result, taken_back=gone)
        receipt = self._state.mailbox.receipt_of(message_id)
        if receipt is None:
            return TurnStatus(message_id=message_id, state="unknown")
        state = _STATES.get(receipt.state, "queued")
        return TurnStatus(message_id=message_id, state=state, reason=receipt.why)

    # --- taking back ---

    def check_last(self, given: TakeBack) -> None:
        """Refuse to take back what cannot be.

        Raises:
            MessageRefusedError: Its fact `reason` says why.
        """
        talk, early = self.talk, self._state.mailbox.early
        if talk.answering and not early:
            raise _stays("a message is being answered; stop its turn first", "busy")
        start = talk.starts.kept[-1] if talk.starts.kept else None
        last = [early[-1].id] if early else start.messages if start is not None else []
        if not last:
            raise _stays("there is no message that could be taken back", "nothing")
        if given.message_id not in (None, *last):
            raise _stays(f"message {given.message_id} is not the last one, which is {last[-1]}", "not_last")
        block = None if early or start is None else start.block
        if block is not None and (self.frame is None or block not in self.frame.blocks):
            raise _stays(f"message {last[-1]} is in a part of the conversation that has been made short", "compacted")

    def take_back(self, given: TakeBack) -> TakenBack:
        """Take the last message out of the conversation, with all that was said on it.

        Raises:
            MessageRefusedError: It cannot be.
        """
        self.check_last(given)
        state, now = self._state, workflow.now()
        if state.mailbox.early:
            queued = state.mailbox.take_back(now, given.by)
            state.ledger_changed()
            return TakenBack(messages=[queued.id], items=state.transcript.items(queued.block))
        start, frame = self.talk.starts.kept.pop(), self.frame
        assert frame is not None
        items: list[JsonObject] = []
        if start.block is not None:
            at = frame.blocks.index(start.block)
            items = [
                item
                for block in frame.blocks[at:]
                for item in state.transcript.items(block)
                if item.get("role") in ("user", "developer", "system")
            ]
            reopening.cut(frame, at, start.history)
            frame.agent, frame.agent_path, frame.handoff = start.agent, start.agent_path, None
            frame.compact = False
        for message_id in start.messages:
            if message_id in self.talk.records.records:
                self.talk.records.records[message_id].taken_back = True
            state.ledger.log.note(
                Transition(what="taken_back", at=now, by=given.by, message=message_id, frame=frame.id)
            )
        state.ledger_changed()
        return TakenBack(messages=start.messages, items=items)

    # --- one message ---

    def _open(self, frame: Frame, message: Queued) -> None:
        """Give a message its turn."""
        reopening.reopen(frame, message.block)
        frame.queue = [message]
        self._state.mailbox.place(frame, [message], workflow.now())
        self.talk.answering = [message.id]
        self.talk.starts.begin(frame, message.id)

    def _settle(self, frame: Frame) -> None:
        """Enter what became of the messages of a turn that is over, and leave the frame whole for the next one."""
        state = self._state
        left = {message.id for message in frame.queue}
        result = self._result(frame)
        block, made = self._block(frame, result.output)
        answered = [each for each in self.talk.answering if each not in left and self._was_read(each)]
        for message_id in answered:
            record = TurnRecord(result=result, block=block, structured=frame.answer_structured, made=made)
            state.transcript.forget(self.talk.records.add(message_id, record))
            self._note_end(message_id, frame)
        self.talk.answering = []
        state.mailbox.early[:0] = frame.queue  # no model call was left for them: each gets a turn of its own
        frame.queue = []
        state.ledger.standing.forget(frame.id)
        at = frame.blocks.index(frame.input) if frame.input in frame.blocks else len(frame.blocks)
        if frame.failure is not None and frame.failure.type == "ModelRefused":
            self._leave_out_unread(frame)
        aside = frame.input not in frame.blocks
        if reopening.tripped_at(frame, "output") or (aside and reopening.tripped_at(frame, "input")):
            self._leave_out_messages(frame)
        reopening.close(frame, result.usage)
        self.talk.starts.settle(frame, answered, first=next(iter(frame.blocks[at:]), None))
        state.drop_below(frame)
        state.active.discard(frame.id)
        if not state.mailbox.early:
            state.publish()

    def _leave_out_unread(self, frame: Frame) -> None:
        """Otherwise an image that the provider refuses, say, would be refused with every message to come."""
        for place in range(frame.cursor + 1, len(frame.blocks)):
            items = self._state.transcript.items(frame.blocks[place])
            readable = reopening.readable(items)
            if readable != items:
                frame.blocks[place] = self._state.new_block(readable)

    def _leave_out_messages(self, frame: Frame) -> None:
        """Take a turn whose answer was blocked out of the conversation, but for what its tools have done.

        A question that stays without an answer would be answered with the next one.
        """
        items_of = self._state.transcript.items
        aside, turn = reopening.since(frame.input, frame.earlier), reopening.since(frame.input, frame.blocks)
        said = [item for block in aside for item in items_of(block)]
        first: list[str] = []
        if not turn:  # the first block may stand in for the whole conversation: a summary, or what a handoff hands over
            first, turn = frame.blocks[:1], frame.blocks[1:]
        left = {block: withdrawal.without_messages(items_of(block)) for block in [*aside, *turn]}
        left |= {block: withdrawal.without_messages(items_of(block), only=said) for block in first}
        for block, items in left.items():
            if items != items_of(block):
                self._state.replace_block(frame, block, items)

    def _was_read(self, message_id: str) -> bool:
        """Whether a message became part of the turn; a guardrail may have refused one that steers."""
        receipt = self._state.mailbox.receipt_of(message_id)
        return receipt is None or receipt.state == "placed"

    def _block(self, frame: Frame, output: JsonValue) -> tuple[str | None, bool]:
        """The block that holds the turn's output, and whether it was made for that."""
        if frame.failure is not None or output is None or frame.answer is not None:
            return frame.answer if frame.failure is None else None, False
        return self._state.new_block([{"type": "final_output", "output": output}]), True

    def _result(self, frame: Frame) -> TurnResult:
        failure = frame.failure
        return TurnResult(
            output=None if failure is not None else frame.output,
            agent=frame.agent,
            turns=frame.turn - frame.turns_before,
            usage=self._state.usage_of(frame),
            failure=None if failure is None else TurnFailure(**failure.model_dump()),
            guardrails=self._state.guardrails_of(frame),
            stopped=frame.stop,
        )

    def _note_end(self, message_id: str, frame: Frame) -> None:
        failure = frame.failure
        why = None if failure is None else f"{failure.type}: {failure.message}"
        self._state.ledger.log.note(
            Transition(
                what="answered", at=workflow.now(), message=message_id, frame=frame.id, block=frame.answer, why=why
            )
        )


def _stays(why: str, reason: str) -> MessageRefusedError:
    return MessageRefusedError(why, reason=reason)
