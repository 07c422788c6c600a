"""`Session`: a conversation, as a client sees it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Generic

from temporalio.client import Client, WorkflowExecutionStatus

from handfast.client.execution import Execution
from handfast.client.opening import WORKFLOW, Opening, closed
from handfast.client.steer import fitting_items
from handfast.client.stores import Stores
from handfast.client.transcript import place_of
from handfast.client.turn import Turn
from handfast.definitions.schema.arguments import checked_methods
from handfast.definitions.schema.output_type import OutputType
from handfast.errors import RunEndedError, RunExistsError, RunNotFoundError, SessionNotFoundError
from handfast.history.conversation import read_transcript, with_media
from handfast.payloads.cutting import reason_text
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.messages import Message, MessageReceipt, When, checked_message
from handfast.payloads.runs import AnswerT_co
from handfast.payloads.sessions import CloseSession, TakeBack, TakenBack
from handfast.payloads.transcript import TranscriptQuery
from handfast.temporal.rpc import typed_errors


@checked_methods
class Session(Execution[Any], Generic[AnswerT_co]):
    """A conversation: say something, watch it, decide what it asks, close it.

    Every method raises `ServerUnavailableError` with the server away, and `NamespaceNotFoundError` in a missing
    namespace.

    Attributes:
        id: The workflow id.
    """

    def __init__(
        self,
        client: Client,
        session_id: str,
        opening: Opening | None = None,
        stores: Stores | None = None,
        readers: Mapping[str, OutputType] = MappingProxyType({}),
    ) -> None:
        """Name a session; *opening* creates it with its first message, and without one it has to exist."""
        super().__init__(client, session_id, stores=stores, readers=readers)
        self._opening = opening
        self._found = False

    async def send(
        self,
        message: str | list[JsonObject],
        *,
        message_id: str | None = None,
        when: When | None = None,
        by: str | None = None,
    ) -> Turn[AnswerT_co]:
        """Say something; the session is created by its first message.

        Where no worker answers within five seconds the message is left with the server under the same id, and the
        receipt's state is *stored*: it is never lost.

        Args:
            message: A text, or messages as the Responses API takes them.
            message_id: Makes a repetition harmless; random by default.
            when: How to treat it while another message is being answered, in place of the session's `on_message`:
                *next* steers, *now* steers and stops the model call under way, *after* waits for a turn of its own.
            by: The sender: a claimed name, recorded.

        Raises:
            MessageInvalidError: It is empty, above 64 KiB, or none. MessageConflictError: Its id was used for another.
            MessageRefusedError: The session is busy and refuses messages meanwhile, or too many wait.
            SessionClosedError: The session has ended. SessionNotFoundError: There is none, and no `agent` for one.
            RunExistsError: The id is that of a run, which is no session.
        """
        content = (
            {"text": message} if isinstance(message, str) else {"items": await fitting_items(self._handle, message)}
        )
        given = checked_message({**content, "when": when, "id": message_id or str(uuid.uuid4()), "by": by})
        await self._find()
        begin = None if self._handle.described is None else f"{self._handle.described}:1.0"
        return Turn(self._handle, str(given.id), await self._deliver(given), begin, self._readers)

    def turn(self, message_id: str) -> Turn[AnswerT_co]:
        """Name a message that was sent before, from any process."""
        return Turn(self._handle, message_id, readers=self._readers)

    async def items(self) -> list[JsonObject]:
        """Return the conversation as the model reads it now, with the outputs that the turn under way has by then.

        `transcript` has it whole, and reads it from an archive too.

        Raises:
            TimeoutError: No worker answered. RunNotFoundError: The server does not know the session.
            ArtifactError: A part of a long conversation is kept where this client cannot read it.
        """
        handle = self._handle
        with handle.needs_worker():
            query = TranscriptQuery(current=True)
            return await read_transcript(handle.workflow, "transcript", query, place_of(handle))

    async def take_back(self, message_id: str | None = None, *, by: str | None = None) -> TakenBack:
        """Take the last message back: it leaves the conversation, with all that was said on it.

        The model does not read it any more, nor do `items` and `transcript` have it; the agent goes on who had the
        conversation before. What tools have done stays done, what they changed in the context stays changed, and what
        it cost counts. The history, and its events, still have it. A message that waits for its turn loses that.

        Args:
            message_id: The message, which has to be the last one, so that a repetition takes no other back.
            by: The person who takes it back: a claimed name, recorded.

        Returns:
            What was taken back: ids, and what it said, to be said otherwise.

        Raises:
            MessageRefusedError: There is none, it is another one, it is being answered, or the conversation has been
                made short since.
            PayloadInvalidError: The id or the name can be none.
            RunEndedError: The session has ended.
            UpdateLimitError: Its present history takes no further update.
            TimeoutError: No worker answered; nothing was taken back, unless one had just taken it.
            RunNotFoundError: The server does not know the session.
        """
        handle = self._handle
        answer = await handle.update("take_back", TakeBack.from_wire({"message_id": message_id, "by": by}).to_wire())
        found = TakenBack.from_wire(answer)
        return found.model_copy(update={"items": await with_media(found.items, place_of(handle))})

    async def close(self, reason: str | None = None, *, by: str | None = None) -> bool:
        """End the session once what was sent has been answered; False where it had ended already.

        Args:
            reason: Recorded, its first 2,000 characters.
            by: The person who closes it: a claimed name.

        Raises:
            PayloadInvalidError: *by* is no name.
            RunNotFoundError: The server does not know the session.
        """
        given = CloseSession.from_wire({"reason": None if reason is None else reason_text(reason), "by": by})
        handle = self._handle
        if (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING:
            return False
        try:
            with typed_errors(handle.client, handle.id):
                await handle.workflow.signal("close", given.to_wire())
        except RunNotFoundError:
            return False  # it ended in between
        return True

    async def _find(self) -> None:
        """Make sure, once, that the id is a session's, or nobody's yet."""
        if self._found:
            return
        try:
            description = await self._handle.describe()
        except RunNotFoundError:
            if self._opening is None:
                raise SessionNotFoundError(self.id) from None
            await self._opening.check()
        else:
            if description.workflow_type != WORKFLOW:
                raise RunExistsError(self.id)
            if description.status is not WorkflowExecutionStatus.RUNNING:
                raise closed(self.id)
        self._found = True

    async def _deliver(self, given: Message) -> MessageReceipt:
        # A new update each time: to one of an id that it knows the server itself gives the first answer.
        wire, update_id = given.to_wire(), str(uuid.uuid4())
        if self._opening is None:
            answer = await self._deliver_to_existing(wire, update_id)
        else:
            answer = await self._opening.update(wire, update_id)
            if answer is None:
                await self._opening.signal(wire)
        if answer is not None:
            return MessageReceipt.from_wire(answer)
        return MessageReceipt(id=str(given.id), state="stored")

    async def _deliver_to_existing(self, wire: JsonObject, update_id: str) -> Any:
        try:
            return await self._handle.update_or_signal("send", wire, update_id)
        except RunEndedError:
            raise closed(self.id) from None
