"""`Session`: a conversation, as a client sees it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar, cast, overload

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowQueryFailedError
from temporalio.service import RPCError

from handfast.client.base import ANSWER_WITHIN, NO_WORKER
from handfast.client.decide import Deciding
from handfast.client.events import Item, Live
from handfast.client.session_start import WORKFLOW, Opening, closed
from handfast.client.steer import Steering, recorded
from handfast.client.stores import Stores
from handfast.client.transcript import Lasting
from handfast.client.watch import Watching
from handfast.definitions.schema.output_type import built
from handfast.errors import (
    AnswerExpiredError,
    MessageRefusedError,
    RunEndedError,
    RunExistsError,
    RunNotFoundError,
    SessionNotFoundError,
    TurnFailedError,
    WaitingForPeople,
)
from handfast.history.conversation import read_transcript
from handfast.history.reader import ledger_changes
from handfast.payloads.events import MessageAnswered, MessagePlaced, MessageRefused, MessageSent
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.messages import Message, MessageReceipt, When, checked_message
from handfast.payloads.requests import Transition
from handfast.payloads.sessions import CloseSession, TurnQuery, TurnResult, TurnStatus
from handfast.payloads.transcript import TranscriptQuery
from handfast.temporal.rpc import typed_errors

OVER: Final = frozenset({"answered", "failed", "refused"})
"""States in which nothing more comes of a message."""
FIRST_TRY: Final = timedelta(seconds=1)
"""How long a query may take before it is asked once more."""
ASK_AGAIN_S: Final = 1.0
"""Pause before a worker that was not there is asked again."""


T = TypeVar("T")
OF_ONE_MESSAGE: Final = (MessageSent, MessageRefused, MessageAnswered)
"""Events that concern nobody but who sent that message."""


class Session(Watching, Live, Deciding, Steering, Lasting):
    """A conversation: say something, watch it, decide what it asks, close it.

    Every method raises `ServerUnavailableError` with the server away, and `NamespaceNotFoundError` in a missing
    namespace.

    Attributes:
        id: The workflow id.
    """

    def __init__(
        self, client: Client, session_id: str, opening: Opening | None = None, stores: Stores | None = None
    ) -> None:
        """Name a session; *opening* creates it with its first message, and without one it has to exist."""
        super().__init__(client, session_id, stores=stores)
        self._opening = opening
        self._found = False
        self._begin: str | None = None

    async def send(
        self,
        message: str | list[JsonObject],
        *,
        message_id: str | None = None,
        when: When | None = None,
        by: str | None = None,
    ) -> Turn:
        """Say something; the session is created by its first message.

        Where no worker answers within five seconds the message is left with the server under the same id, and the
        receipt's state is *stored*: it is never lost.

        Args:
            message: A text, or messages as the Responses API takes them.
            message_id: Makes a repetition harmless; random by default.
            when: What happens while another message is being answered, in place of the session's `on_message`:
                *next* steers, *now* steers and stops the model call under way, *after* waits for a turn of its own.
            by: Who says it: a claimed name, recorded.

        Raises:
            MessageInvalidError: It is empty, above 64 KiB, or none. MessageConflictError: Its id was used for another.
            MessageRefusedError: The session is busy and refuses messages meanwhile, or too many wait.
            SessionClosedError: The session has ended. SessionNotFoundError: There is none, and no `agent` for one.
            RunExistsError: The id is that of a run, which is no session.
        """
        content = {"text": message} if isinstance(message, str) else {"items": message}
        given = checked_message({**content, "when": when, "id": message_id or str(uuid.uuid4()), "by": by})
        await self._find()
        begin = self._begin
        return Turn(self, str(given.id), await self._deliver(given), begin)

    def turn(self, message_id: str) -> Turn:
        """Name a message that was sent before, from any process."""
        return Turn(self, message_id)

    async def items(self) -> list[JsonObject]:
        """The conversation as it stands, as the model reads it: also outputs of the turn under way that are there.

        `transcript` has it whole, and reads it from an archive too.

        Raises:
            TimeoutError: No worker answered. RunNotFoundError: The server does not know the session.
            ArtifactError: A part of a long conversation is kept where this client cannot read it.
        """
        with self._no_worker():
            return await read_transcript(self._handle, "transcript", TranscriptQuery(current=True), self._place)

    async def close(self, reason: str | None = None, *, by: str | None = None) -> bool:
        """End the session once what was sent has been answered; False where it had ended already.

        Args:
            reason: Recorded, its first 2,000 characters.
            by: Who closes it: a claimed name.

        Raises:
            PayloadInvalidError: *by* is no name.
            RunNotFoundError: The server does not know the session.
        """
        given = CloseSession.from_wire({"reason": None if reason is None else recorded(reason), "by": by})
        if (await self._describe()).status is not WorkflowExecutionStatus.RUNNING:
            return False
        try:
            with typed_errors(self._client, self.id):
                await self._handle.signal("close", given.to_wire())
        except RunNotFoundError:
            return False  # it ended in between
        return True

    # --- for its turns ---

    async def turn_status(self, message_id: str) -> TurnStatus:
        """See `Turn.status`."""
        query = TurnQuery.from_wire({"message_id": message_id})
        with self._no_worker():
            answer = await self._query_twice("turn", query.to_wire())
        return TurnStatus.from_wire(answer)

    async def wait_for(self, message_id: str, *, wait_for_people: bool) -> TurnResult:
        """See `Turn.result`."""
        status = await self.patient_status(message_id)
        while status.state not in OVER:
            step = await self._until_over(message_id, wait_for_people=wait_for_people)
            status = await self.patient_status(message_id)
            if step is None and status.state not in OVER:
                raise closed(self.id)
            if step is not None and step.what == "message_refused" and status.state == "unknown":
                status = status.model_copy(update={"state": "refused", "reason": step.why})
        if status.result is not None:
            return status.result
        raise MessageRefusedError(
            f"message {message_id} was refused: {status.reason}", message_id=message_id, reason=status.reason
        )

    # --- inside ---

    async def _describe(self) -> WorkflowExecutionDescription:
        description = await super()._describe()
        self._begin = f"{description.run_id}:1.0"
        return description

    async def _find(self) -> None:
        """Make sure, once, that the id is a session's, or nobody's yet."""
        if self._found:
            return
        try:
            description = await self._describe()
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
            return await self._update_or_signal("send", wire, update_id)
        except RunEndedError:
            raise closed(self.id) from None

    @contextmanager
    def _no_worker(self) -> Iterator[None]:
        """Say so where no worker answered what is asked inside."""
        with typed_errors(self._client, self.id):
            try:
                yield
            except RPCError as error:
                if error.status not in NO_WORKER:
                    raise
                raise TimeoutError(f"no worker of {self.id} answered; ask again when one is back") from error

    async def _query_twice(self, name: str, arg: JsonObject) -> Any:
        """A worker that evicts the session just then drops the query, which is then never answered."""
        try:
            return await self._handle.query(name, arg, rpc_timeout=FIRST_TRY)
        except RPCError as error:
            if error.status not in NO_WORKER:
                raise
        return await self._handle.query(name, arg, rpc_timeout=ANSWER_WITHIN - FIRST_TRY)

    async def patient_status(self, message_id: str) -> TurnStatus:
        """Where a message stands, as soon as there is a worker to say so."""
        while True:
            try:
                return await self.turn_status(message_id)
            except (TimeoutError, WorkflowQueryFailedError):  # a worker that is leaving drops what it was asked
                await asyncio.sleep(ASK_AGAIN_S)

    async def _until_over(self, message_id: str, *, wait_for_people: bool) -> Transition | None:
        """Read the history until a message's turn is over; None where the session ended first."""
        async for event in self._events(wait=True):
            opened, _, log = await ledger_changes(event, self._converter)
            for step in log:
                if step.message == message_id and step.what in ("answered", "message_refused"):
                    return step
            if opened and not wait_for_people and (pending := await self.pending()):
                raise WaitingForPeople(self.id, [request.id for request in pending])
        return None


class Turn:
    """One message of a session, on the way to its answer.

    Attributes:
        id: The message's id.
        receipt: What the session said when it was sent; None for one that was looked up by its id.
    """

    def __init__(
        self, session: Session, message_id: str, receipt: MessageReceipt | None = None, begin: str | None = None
    ) -> None:
        """Name a message; nothing is asked of the server before the first method is awaited.

        Args:
            session: Whose.
            message_id: The message's id.
            receipt: What the session said when it was sent.
            begin: Offset of an event before it was sent; None looks from the session's first one.
        """
        self.id = message_id
        self.receipt = receipt
        self._session = session
        self._begin = begin

    async def status(self) -> TurnStatus:
        """Where the message stands.

        Raises:
            TimeoutError: No worker answered. RunNotFoundError: The server does not know the session.
            PayloadInvalidError: The message's id can be none.
        """
        return await self._session.turn_status(self.id)

    @overload
    async def result(self, *, wait_for_people: bool = ..., timeout: timedelta | None = ...) -> TurnResult: ...

    @overload
    async def result(
        self, *, output_type: type[T], wait_for_people: bool = ..., timeout: timedelta | None = ...
    ) -> TurnResult[T]: ...

    @overload
    async def result(
        self, *, output_type: Any, wait_for_people: bool = ..., timeout: timedelta | None = ...
    ) -> TurnResult[Any]: ...

    async def result(
        self, *, output_type: Any = None, wait_for_people: bool = True, timeout: timedelta | None = None
    ) -> TurnResult[Any]:
        """Wait until the message has its answer, or its turn has failed.

        The wait is a long poll of the session's history: nothing is polled, and workers may come and go meanwhile.

        Args:
            output_type: Type of the output, as the agent's `output_type`; None leaves it the JSON that it is.
            wait_for_people: False raises instead of waiting for a decision.
            timeout: Longest wait; the session goes on after it.

        Raises:
            OutputInvalidError: The output is no *output_type*. DefinitionError: *output_type* is no type.
            MessageRefusedError: It was taken and then refused: by a guardrail, or as the session ended.
            SessionClosedError: The session ended without an answer.
            WaitingForPeople: A request is open, and *wait_for_people* is False.
            TimeoutError: *timeout* passed.
            RunNotFoundError: The server does not know the session, or not this message.
        """
        kind = None if output_type is None else built(output_type, "result")
        bound_s = None if timeout is None else timeout.total_seconds()
        try:
            async with asyncio.timeout(bound_s) as bound:
                result = await self._session.wait_for(self.id, wait_for_people=wait_for_people)
        except TimeoutError as error:
            if not bound.expired():
                raise
            raise TimeoutError(f"message {self.id} was not answered in time; its session goes on") from error
        if kind is None or result.failure is not None or result.expired:
            return result
        return TurnResult[Any].model_construct(**{**dict(result), "output": kind.read(result.output)})

    async def output(
        self, *, output_type: Any = None, wait_for_people: bool = True, timeout: timedelta | None = None
    ) -> Any:
        """The answer itself: a text; for an agent with an `output_type` its JSON value, or *output_type*.

        Raises:
            TurnFailedError: There is none; its ``kind`` says why. AnswerExpiredError: It is no longer kept here. And
                all that `result` raises.
        """
        result = await self.result(output_type=output_type, wait_for_people=wait_for_people, timeout=timeout)
        failure = result.failure
        if failure is not None:
            raise TurnFailedError(self._session.id, self.id, failure, result.usage)
        if result.expired:
            raise AnswerExpiredError(self._session.id, self.id)
        return result.output

    async def stream(self, after: str | None = None) -> AsyncIterator[Item]:
        """Yield what happens for this message: from when the model may read it until it is answered or refused.

        Events, and the deltas of what is being written where the session was begun with ``stream=True``; the same
        whenever it is read. Nothing is kept for a reader, who may leave and go on.

        Args:
            after: Offset of the last event or delta of it that is not wanted any more.

        Raises:
            Exception: As `Session.stream`.
        """
        begun = after is not None
        async with aclosing(cast("AsyncGenerator[Item]", self._session.stream(after or self._begin))) as items:
            async for item in items:
                about = getattr(item, "message", None) == self.id
                begun = begun or (about and isinstance(item, MessagePlaced))
                refused = about and isinstance(item, MessageRefused) and not begun and await self._was_refused()
                if (begun and (about or not isinstance(item, OF_ONE_MESSAGE))) or refused:
                    yield item
                if refused or (about and isinstance(item, MessageAnswered)):
                    return

    async def _was_refused(self) -> bool:
        """Whether it was, and not another message that came with its id."""
        return (await self._session.patient_status(self.id)).state in ("refused", "unknown")
