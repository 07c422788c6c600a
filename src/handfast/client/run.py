"""`Run`: one run, as a client sees it."""

from __future__ import annotations

from typing import Literal

from handfast.client import steer
from handfast.client.execution import Execution
from handfast.definitions.schema.arguments import checked_methods
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.messages import MessageReceipt
from handfast.payloads.runs import AnswerT_co


@checked_methods
class Run(Execution[AnswerT_co]):
    """One run: watch it, decide what it asks, say something to it, cancel it, take its result.

    Every method raises `ServerUnavailableError` with the server away, and `NamespaceNotFoundError` in a missing
    namespace.

    Attributes:
        id: The workflow id.
    """

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
            by: The sender: a claimed name, recorded.
            frame: The loop, where several are at work, as `Request.frame` has it.

        Raises:
            MessageInvalidError: It is empty, too large, or no message.
            MessageConflictError: The id was used before, with other content.
            MessageRefusedError: No model call is to come, or too many messages wait.
            RunEndedError: The run has ended.
            RunNotFoundError: The server does not know the run.
        """
        return await steer.send(self._handle, message, when=when, message_id=message_id, by=by, frame=frame)
