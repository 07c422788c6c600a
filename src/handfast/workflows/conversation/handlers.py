"""The handlers of a session: messages come in, one is asked about, and it is closed."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio.exceptions import ApplicationError

from handfast.errors import (
    MessageInvalidError,
    MessageRefusedError,
    PayloadInvalidError,
    RefusalError,
    SessionClosedError,
)
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.messages import Message, MessageReceipt
from handfast.payloads.sessions import CloseSession, TakeBack, TurnQuery
from handfast.workflows.conversation.conversation import Conversation
from handfast.workflows.frame.frame import Frame
from handfast.workflows.handlers.decode import read_optional, refusal_to_wire
from handfast.workflows.handlers.send import Sender
from handfast.workflows.state.runs import Runs


class SessionSender(Sender):
    """Takes messages for turns of their own, and for the turn under way."""

    def __init__(self, runs: Runs, conversation: Conversation) -> None:
        super().__init__(runs)
        self._conversation = conversation

    # --- beside `send` ---

    def turn(self, *args: object) -> JsonObject:
        """Query `turn`: return the status of a message."""
        return self._conversation.status_of(read_optional(TurnQuery, args).message_id).to_wire()

    def refuse_to_take_back(self, *args: object) -> None:
        """Validate the update `take_back`: a refusal leaves no trace in the history."""
        try:
            self._conversation.check_last(_read_take_back(args))
        except RefusalError as refusal:
            raise refusal_to_wire(refusal) from None

    def take_back(self, *args: object) -> JsonObject:
        """Update `take_back`: the last message, and what was said on it, leave the conversation."""
        try:
            return self._conversation.take_back(_read_take_back(args)).to_wire()
        except RefusalError as refusal:
            raise refusal_to_wire(refusal) from None

    async def close(self, *args: object) -> None:
        """Signal `close`: end the session when its messages have been answered. An unreadable reason is left out."""
        try:
            given = read_optional(CloseSession, args)
        except ApplicationError:
            given = CloseSession()
        self._conversation.close(given)

    # --- inside ---

    def _taken(self, receipt: MessageReceipt) -> None:
        if receipt.frame is not None:
            self._conversation.session.answering.append(receipt.id)
        self._runs.wake()  # the conversation wakes in this task, or is at work: it publishes

    def _receiver(self, message: Message) -> Frame | None:
        """Return the frame that a message steers; None where it gets a turn of its own.

        Raises:
            RefusalError: It is not taken.
        """
        session, mailbox = self._conversation.session, self._runs.mailbox
        if session.closing is not None:
            raise SessionClosedError("the session is closed, and takes no more messages", message_id=message.id)
        at_work = bool(session.answering)
        if message.when is None and session.on_message == "refuse" and (at_work or mailbox.early):
            raise MessageRefusedError(
                "another message is being answered; send again when it has been", reason="busy", message_id=message.id
            )
        steers = message.when in ("next", "now") or (message.when is None and session.on_message == "steer")
        frame = self._conversation.frame if at_work and steers else None
        if frame is not None and (frame.failure is not None or self._refusal(frame) is not None):
            frame = None  # no model call is to come for it
        mailbox.check_capacity(frame, message)
        return frame


def _read_take_back(args: Sequence[object]) -> TakeBack:
    try:
        return TakeBack.from_wire(args[0] if args else {})
    except PayloadInvalidError as error:
        raise MessageInvalidError(str(error)) from None
