"""The handlers through which messages to a run come in, by update or by signal."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio import workflow

from handfast.errors import MessageInvalidError, MessageRefusedError, RefusalError
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.messages import Message, MessageReceipt, checked_message
from handfast.workflows.frame.frame import Frame
from handfast.workflows.handlers.decode import only_argument, refusal_to_wire
from handfast.workflows.loop import messages
from handfast.workflows.state.runs import Runs


class Sender:
    """Handles the update and the signal by which messages to a run come in."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def refuse(self, *args: object) -> None:
        """Validate the update `send`: a refusal leaves no trace in the history."""
        try:
            message = read_message(args)
            if self._runs.mailbox.repeated(message) is None:
                self._receiver(message)
        except RefusalError as refusal:
            raise refusal_to_wire(refusal) from None

    def send(self, *args: object) -> JsonObject:
        """Update `send`: queue the message and answer with its receipt."""
        try:
            return self._take(read_message(args)).to_wire()
        except RefusalError as refusal:
            raise refusal_to_wire(refusal) from None

    async def send_by_signal(self, *args: object) -> None:
        """Signal `send`, the update's fallback: a bad one is logged and changes nothing, as nobody can be answered."""
        message: Message | None = None
        try:
            message = read_message(args)
            self._take(message)
        except RefusalError as refusal:
            self._runs.mailbox.refuse_unread(message, refusal, workflow.now())
            self._runs.changed()

    def _take(self, message: Message) -> MessageReceipt:
        runs = self._runs
        repeated = runs.mailbox.repeated(message)
        if repeated is not None:
            return repeated
        frame = self._receiver(message)
        interrupts = message.when == "now" and frame is not None and frame.phase == "thinking"
        if interrupts and frame is not None:
            frame.interrupted = True
            runs.works[frame.id].interrupt()
        message_id, now = message.id or str(workflow.uuid4()), workflow.now()
        if frame is None:
            receipt = runs.mailbox.take_early(message, message_id, now)
        else:
            receipt = runs.mailbox.take(frame, message, message_id, now, interrupts=interrupts)
        self._taken(receipt)
        return receipt

    def _taken(self, _receipt: MessageReceipt) -> None:
        self._runs.changed()

    def _receiver(self, message: Message) -> Frame | None:
        """Return the frame that takes a message; None before the first run has begun.

        Raises:
            RefusalError: None does.
        """
        runs = self._runs
        frame = runs.frames.addressed(message.frame, MessageInvalidError) if runs.frames.all else None
        if frame is not None:
            refusal = self._refusal(frame)
            if refusal is not None:
                raise MessageRefusedError(refusal.why, reason=refusal.reason, message_id=message.id)
        runs.mailbox.check_capacity(frame, message)
        return frame

    def _refusal(self, frame: Frame) -> messages.RefuseMessages | None:
        """Return why no model will read a message to *frame*; None where one may."""
        runs = self._runs
        work = runs.works.get(frame.id)
        if work is not None and work.ending:
            return messages.RefuseMessages("ended", "the run is ending")
        if frame.stop is not None or frame.phase in ("checking", "closing"):
            return messages.no_call_to_come(frame, runs.frames.usage_of(frame))
        return None


def read_message(args: Sequence[object]) -> Message:
    """Read the argument of the update or signal `send`: an object, or just a text.

    Raises:
        MessageInvalidError: It is none of the two; the text says what was expected.
    """
    value = only_argument(args, 'a text or {"text"} or {"items"}', MessageInvalidError)
    if isinstance(value, str):
        value = {"text": value}
    return checked_message(value)
