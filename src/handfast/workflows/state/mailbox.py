"""Messages to the runs of one workflow, and what became of each, by its id. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from pydantic import BaseModel

from handfast.errors import MessageConflictError, MessageRefusedError, RefusalError
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.messages import Message, MessageReceipt
from handfast.payloads.requests import Transition
from handfast.workflows.frame.frame import Frame, Queued
from handfast.workflows.ledger.log import RequestLog
from handfast.workflows.ledger.outcomes import Known, Recent
from handfast.workflows.loop.messages import RefuseMessages

KEPT_MESSAGES: Final = 1000
"""Message ids whose outcome is kept, the newest ones."""
MOST_QUEUED: Final = 100
"""Messages that may wait for one model call."""
QUEUED_BYTES: Final = 512 * 1024
"""Bytes of them together: they are carried along until a model has read them."""


class MailboxState(BaseModel):
    """All that lasts of a mailbox.

    Attributes:
        known: Receipts of the newest messages, by their ids.
        early: Messages that came before the first run has begun, which gets them; in a session, those that wait for a
            turn of their own.
    """

    known: Known[MessageReceipt] = {}
    early: list[Queued] = []


class Mailbox:
    """Takes messages, places them, and keeps the receipts of the newest ones."""

    def __init__(self, state: MailboxState, log: RequestLog, new_block: Callable[[list[JsonObject]], str]) -> None:
        """Work on *state*.

        Args:
            state: All that lasts.
            log: Of the ledger.
            new_block: Enters items into the transcript, and returns the id of their block.
        """
        self.state = state
        self.early = state.early
        self._log = log
        self._new_block = new_block
        self._known: Recent[MessageReceipt] = Recent(state.known, KEPT_MESSAGES)

    def repeated(self, message: Message) -> MessageReceipt | None:
        """Return the receipt of the same message, if it was taken before.

        Raises:
            MessageConflictError: Its id was used with other content.
        """
        known = self._known.get(message.id)
        if known is None:
            return None
        digest, receipt = known
        if digest != message.digest:
            raise MessageConflictError(
                f"message id {message.id} was used before with other content; make a new one", message_id=message.id
            )
        return receipt.model_copy(update={"duplicate": True})

    def receipt_of(self, message_id: str) -> MessageReceipt | None:
        """Return the receipt of a message; None where it is unknown, or known no more."""
        known = self._known.get(message_id)
        return None if known is None else known[1]

    def check_capacity(self, frame: Frame | None, message: Message) -> None:
        """Refuse a message where too much waits already.

        Args:
            frame: Whose queue; None before the first run has begun.
            message: What would be added.

        Raises:
            MessageRefusedError: There is no room.
        """
        queue = self.early if frame is None else frame.queue
        if len(queue) >= MOST_QUEUED or sum(each.size for each in queue) + message.size > QUEUED_BYTES:
            raise MessageRefusedError(
                f"{len(queue)} messages wait here already; send again when the model has read them",
                reason="queue_full",
                message_id=message.id,
            )

    def take(
        self, frame: Frame, message: Message, message_id: str, now: datetime, *, interrupts: bool = False
    ) -> MessageReceipt:
        """Queue a message that `check_room` let pass.

        Args:
            frame: Whose queue.
            message: What is queued.
            message_id: Its id, or one made for it.
            now: Workflow time.
            interrupts: The model call under way is made again with it.
        """
        frame.queue.append(self._queued(message, message_id))
        receipt = MessageReceipt(
            id=message_id, state="queued", at=now, frame=frame.id, interrupts=True if interrupts else None
        )
        return self._sent(message, receipt, now, "the model call under way is made again" if interrupts else None)

    def take_early(self, message: Message, message_id: str, now: datetime) -> MessageReceipt:
        """Keep a message for the first run."""
        self.early.append(self._queued(message, message_id))
        return self._sent(message, MessageReceipt(id=message_id, state="queued", at=now), now)

    def take_over(self) -> list[Queued]:
        """Return the messages that came early, for the run that begins."""
        queue = list(self.early)
        self.early.clear()
        return queue

    def _queued(self, message: Message, message_id: str) -> Queued:
        return Queued(id=message_id, block=self._new_block(message.content), size=message.size, by=message.by)

    def _sent(self, message: Message, receipt: MessageReceipt, now: datetime, why: str | None = None) -> MessageReceipt:
        self._known.keep(receipt.id, message.digest, receipt)
        self._log.note(Transition(what="sent", at=now, by=message.by, message=receipt.id, frame=receipt.frame, why=why))
        return receipt

    def place(self, frame: Frame, messages: Iterable[Queued], now: datetime) -> None:
        """Put messages of the frame's queue at the end of what its model reads."""
        for message in list(messages):
            frame.queue.remove(message)
            frame.blocks.append(message.block)
            self._became(message.id, {"state": "placed", "frame": frame.id})
            self._log.note(Transition(what="placed", at=now, message=message.id, frame=frame.id))

    def refuse(self, frame: Frame, refusal: RefuseMessages, now: datetime) -> None:
        """Take every message out of the frame's queue, which no model will read."""
        for message in list(frame.queue):
            self.refuse_one(frame, message, refusal, now)

    def refuse_one(self, frame: Frame, message: Queued, refusal: RefuseMessages, now: datetime) -> None:
        """Take one message out of the frame's queue."""
        frame.queue.remove(message)
        self._refused(frame.id, message, refusal, now)

    def refuse_early(self, refusal: RefuseMessages, now: datetime) -> None:
        """Refuse what came for a run that never began."""
        while self.early:
            self._refused(None, self.early.pop(0), refusal, now)

    def take_back(self, now: datetime, by: str | None) -> Queued:
        """Take the last message out of those that wait for a turn of their own."""
        message = self.early.pop()
        self._became(message.id, {"state": "refused", "why": "it was taken back"})
        why = "taken_back: it was taken back before its turn"
        self._log.note(Transition(what="message_refused", at=now, by=by, message=message.id, why=why))
        return message

    def refuse_unread(self, message: Message | None, refusal: RefusalError, now: datetime) -> None:
        """Log a message that came by signal and was not taken: its sender cannot be answered.

        Args:
            message: None where it could not be read.
            refusal: Why.
            now: Workflow time.
        """
        self._log.note_refusal(
            Transition(
                what="message_refused",
                at=now,
                by=message.by if message else None,
                message=message.id if message else None,
                why=f"{type(refusal).__name__}: {refusal.message}",
            )
        )

    def _refused(self, frame: str | None, message: Queued, refusal: RefuseMessages, now: datetime) -> None:
        self._became(message.id, {"state": "refused", "why": refusal.why})
        why = f"{refusal.reason}: {refusal.why}"
        self._log.note(
            Transition(what="message_refused", at=now, by=message.by, message=message.id, frame=frame, why=why)
        )

    def _became(self, message_id: str, facts: dict[str, str]) -> None:
        known = self._known.get(message_id)
        if known is not None:  # unless a thousand came after it
            self._known.keep(message_id, known[0], known[1].model_copy(update=facts))
