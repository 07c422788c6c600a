"""Saying something to a run while it works."""

from __future__ import annotations

import uuid
from typing import Literal

from handfast.payloads.json_profile import JsonObject
from handfast.payloads.messages import MessageReceipt, checked_message
from handfast.reach import Reach


class Messaging(Reach):
    """What a run can be told."""

    async def send(
        self,
        message: str | list[JsonObject],
        *,
        when: Literal["next", "now"] = "next",
        message_id: str | None = None,
        by: str | None = None,
        frame: str | None = None,
    ) -> MessageReceipt:
        """Say something to a run while it works: the model reads it before it is called next.

        It comes after the outputs of all calls under way, and after what was sent before it. Where no model call is to
        come, it opens a further turn, or is refused, as the run's `on_message` says. Input guardrails look at it; what
        they stop is refused, and the run goes on.

        Where no worker answers within five seconds the message is stored as a signal under the same id, and the
        receipt's state is *stored*. To send it again with the same id is harmless, and says what became of it.

        Args:
            message: A text, or messages as the Responses API takes them.
            when: ``"now"`` cancels the model call under way, whose reply is thrown away, and makes it again with the
                message; tools are left alone.
            message_id: Makes a repetition harmless; random by default.
            by: Who sends it: a claimed name, recorded.
            frame: Which loop, where several are at work; `Request.frame` says it.

        Raises:
            MessageInvalidError: It is empty, too large, or no message.
            MessageConflictError: The id was used before, with other content.
            MessageRefusedError: No model call is to come, or too many messages wait.
            RunEndedError: The run has ended.
            RunNotFoundError: The server does not know the run.
        """
        said = {"text": message} if isinstance(message, str) else {"items": message}
        given = checked_message({**said, "when": when, "id": message_id or str(uuid.uuid4()), "by": by, "frame": frame})
        # A new update each time: to one of an id that it knows the server itself gives the first answer.
        answer = await self._update_or_signal("send", given.to_wire(), str(uuid.uuid4()))
        if answer is not None:
            return MessageReceipt.from_wire(answer)
        return MessageReceipt(id=str(given.id), state="stored")
