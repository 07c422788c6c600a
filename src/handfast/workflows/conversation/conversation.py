"""A conversation: one frame that is reopened for each message, in the order in which they came."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

from handfast.errors import MessageRefusedError
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.requests import Transition
from handfast.payloads.runs import RunResult
from handfast.payloads.sessions import (
    CloseSession,
    MessageState,
    SessionInput,
    TakeBack,
    TakenBack,
    TurnFailure,
    TurnResult,
    TurnStatus,
)
from handfast.workflows.conversation import turns
from handfast.workflows.driver.driver import Driver, failed
from handfast.workflows.frame import withdrawal
from handfast.workflows.frame.frame import Frame, Queued
from handfast.workflows.loop.messages import RefuseMessages
from handfast.workflows.state.runs import Runs
from handfast.workflows.state.session_state import SessionState, TurnRecord

_STATES: Final[dict[str, MessageState]] = {"placed": "working", "refused": "refused"}
CANCELLED: Final = RefuseMessages("ended", "the session was cancelled")
FAILED: Final = RefuseMessages("ended", "the session has failed")


class Conversation:
    """Answers the messages of a session, one after the other.

    It is one frame that is reopened for each message, not a frame for each: so a model call names only the blocks since
    the last one. The count of its turns goes on over all messages, as it makes idempotency keys.

    Attributes:
        session: All that lasts of it.
    """

    def __init__(self, runs: Runs, session: SessionState) -> None:
        """Work on *session*, which is part of the state of *runs*."""
        self._runs = runs
        self.session = session

    @property
    def frame(self) -> Frame | None:
        """The conversation's frame; None before the session has begun."""
        return None if self.session.frame is None else self._runs.frames.frame(self.session.frame)

    # --- its life ---

    def begin(self, given: SessionInput) -> None:
        """Enter the frame of the conversation, with the items that the session imports."""
        frame = self._runs.begin(given.model_copy(update={"input": given.import_items, "on_message": None}))
        frame.phase, frame.lasts = "finished", True
        frame.session_turns, frame.session_tokens = given.max_session_turns, given.max_session_tokens
        frame.session_cost = given.max_session_cost
        self._runs.mailbox.early[:], frame.queue = frame.queue, []  # each message gets a turn of its own
        if given.segment_events is not None:
            self._runs.segment.after(given.segment_events)
        self.session.frame, self.session.on_message = frame.id, given.on_message

    async def run(self) -> RunResult:
        """Answer messages until the session is closed.

        Raises:
            ApplicationError: ``ConversationTooLarge``: it can neither go on in this history nor leave it.
            asyncio.CancelledError: The session was cancelled.
        """
        session, runs, frame = self.session, self._runs, self.frame
        mailbox = runs.mailbox
        assert frame is not None
        while True:
            if not session.answering:
                await workflow.wait_condition(
                    lambda: bool(mailbox.early) or session.closing is not None or runs.too_heavy is not None
                )
                if runs.too_heavy is not None:
                    mailbox.refuse_early(FAILED, workflow.now())
                    raise failed(runs.too_heavy, frame.spent_before)
                if not mailbox.early:
                    break
                self._open_turn(frame, mailbox.early.pop(0))
            frame.driven = True
            await Driver(runs, frame).drive()
            self._close_turn(frame)
        return RunResult(agent=frame.agent, turns=frame.turn, usage=frame.spent_before)

    def abandon(self) -> None:
        """Refuse the messages that are left: the session was cancelled."""
        frame = self.frame
        if frame is not None and self.session.answering:
            self._close_turn(frame)
        self._runs.mailbox.refuse_early(CANCELLED, workflow.now())

    def close(self, given: CloseSession) -> None:
        """Take no more messages; end when those that were taken have been answered."""
        self.session.closing = self.session.closing or given

    def status_of(self, message_id: str) -> TurnStatus:
        """Return the status of a message."""
        result = self.session.records.result_of(message_id, self._runs.transcript)
        if result is not None:
            over: MessageState = "answered" if result.failure is None else "failed"
            gone = True if self.session.records.records[message_id].taken_back else None
            return TurnStatus(message_id=message_id, state=over, result=result, taken_back=gone)
        receipt = self._runs.mailbox.receipt_of(message_id)
        if receipt is None:
            return TurnStatus(message_id=message_id, state="unknown")
        state = _STATES.get(receipt.state, "queued")
        return TurnStatus(message_id=message_id, state=state, reason=receipt.why)

    # --- taking back ---

    def check_last(self, given: TakeBack) -> None:
        """Refuse to take back a message that has to stay.

        Raises:
            MessageRefusedError: Its fact `reason` says why.
        """
        session, early = self.session, self._runs.mailbox.early
        if session.answering and not early:
            raise _stays("a message is being answered; stop its turn first", "busy")
        start = session.starts.kept[-1] if session.starts.kept else None
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
            MessageRefusedError: It has to stay.
        """
        self.check_last(given)
        runs, now = self._runs, workflow.now()
        if runs.mailbox.early:
            queued = runs.mailbox.take_back(now, given.by)
            runs.changed()
            return TakenBack(messages=[queued.id], items=runs.transcript.items(queued.block))
        start, frame = self.session.starts.kept.pop(), self.frame
        assert frame is not None
        items: list[JsonObject] = []
        if start.block is not None:
            at = frame.blocks.index(start.block)
            said = [item for block in frame.blocks[at:] for item in runs.transcript.items(block)]
            items = [item for item in said if item.get("role") in ("user", "developer", "system")]
            turns.cut(frame, at, start.history)
            frame.agent, frame.agent_path, frame.handoff = start.agent, start.agent_path, None
            frame.compact = False
        for message_id in start.messages:
            if message_id in self.session.records.records:
                self.session.records.records[message_id].taken_back = True
            runs.ledger.log.note(Transition(what="taken_back", at=now, by=given.by, message=message_id, frame=frame.id))
        runs.changed()
        return TakenBack(messages=start.messages, items=items)

    # --- one message ---

    def _open_turn(self, frame: Frame, message: Queued) -> None:
        turns.reopen(frame, message.block)
        frame.queue = [message]
        self._runs.mailbox.place(frame, [message], workflow.now())
        self.session.answering = [message.id]
        self.session.starts.begin(frame, message.id)

    def _close_turn(self, frame: Frame) -> None:
        """Enter the results of the turn's messages, and leave the frame whole for the next one."""
        runs = self._runs
        left = {message.id for message in frame.queue}
        result = self._result(frame)
        block, made = self._block(frame, result.output)
        answered = [each for each in self.session.answering if each not in left and self._was_read(each)]
        for message_id in answered:
            record = TurnRecord(result=result, block=block, structured=frame.answer_structured, made=made)
            runs.transcript.forget(self.session.records.add(message_id, record))
            self._note_end(message_id, frame)
        self.session.answering = []
        runs.mailbox.early[:0] = frame.queue  # no model call was left for them: each gets a turn of its own
        frame.queue = []
        runs.ledger.standing.forget(frame.id)
        at = frame.blocks.index(frame.input) if frame.input in frame.blocks else len(frame.blocks)
        if frame.failure is not None and frame.failure.type == "ModelRefused":
            self._leave_out_unread(frame)
        aside = frame.input not in frame.blocks
        if turns.tripped_at(frame, "output") or (aside and turns.tripped_at(frame, "input")):
            self._leave_out_messages(frame)
        turns.close(frame, result.usage)
        self.session.starts.settle(frame, answered, first=next(iter(frame.blocks[at:]), None))
        for each in runs.frames.under(frame):
            if each is not frame:
                runs.forget(each)
        frame.driven = False
        if not runs.mailbox.early:
            runs.publish()

    def _leave_out_unread(self, frame: Frame) -> None:
        """Drop content that the provider refused; otherwise it would refuse it with every message to come."""
        for place in range(frame.cursor + 1, len(frame.blocks)):
            items = self._runs.transcript.items(frame.blocks[place])
            readable = turns.readable(items)
            if readable != items:
                frame.blocks[place] = self._runs.transcript.new_block(readable)

    def _leave_out_messages(self, frame: Frame) -> None:
        """Take a turn whose answer was blocked out of the conversation, but for what its tools have done.

        A question that stays without an answer would be answered with the next one.
        """
        items_of = self._runs.transcript.items
        aside, turn = turns.since(frame.input, frame.earlier), turns.since(frame.input, frame.blocks)
        said = [item for block in aside for item in items_of(block)]
        first: list[str] = []
        if not turn:  # the first block may stand in for the whole conversation: a summary, or what a handoff hands over
            first, turn = frame.blocks[:1], frame.blocks[1:]
        left = {block: withdrawal.without_messages(items_of(block)) for block in [*aside, *turn]}
        left |= {block: withdrawal.without_messages(items_of(block), only=said) for block in first}
        for block, items in left.items():
            if items != items_of(block):
                self._runs.transcript.replace(frame, block, items)

    def _was_read(self, message_id: str) -> bool:
        """Return whether a message became part of the turn; a guardrail may have refused one that steers."""
        receipt = self._runs.mailbox.receipt_of(message_id)
        return receipt is None or receipt.state == "placed"

    def _block(self, frame: Frame, output: JsonValue) -> tuple[str | None, bool]:
        """Return the block that holds the turn's output, and whether it was made for that."""
        if frame.failure is not None or output is None or frame.answer is not None:
            return frame.answer if frame.failure is None else None, False
        return self._runs.transcript.new_block([{"type": "final_output", "output": output}]), True

    def _result(self, frame: Frame) -> TurnResult:
        failure = frame.failure
        return TurnResult(
            output=None if failure is not None else frame.output,
            agent=frame.agent,
            turns=frame.turn - frame.turns_before,
            usage=self._runs.frames.usage_of(frame),
            failure=None if failure is None else TurnFailure(**failure.model_dump()),
            guardrails=self._runs.frames.guardrails_of(frame),
            stopped=frame.stop,
        )

    def _note_end(self, message_id: str, frame: Frame) -> None:
        failure = frame.failure
        why = None if failure is None else f"{failure.type}: {failure.message}"
        self._runs.ledger.log.note(
            Transition(
                what="answered", at=workflow.now(), message=message_id, frame=frame.id, block=frame.answer, why=why
            )
        )


def _stays(why: str, reason: str) -> MessageRefusedError:
    return MessageRefusedError(why, reason=reason)
