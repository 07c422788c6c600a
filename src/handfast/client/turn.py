"""`Turn`: one message of a session, on the way to its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar, overload

from temporalio.client import WorkflowQueryFailedError
from temporalio.service import RPCError

from handfast.client import watch
from handfast.client.events import stream
from handfast.client.handle import ANSWER_WITHIN, NO_WORKER, Handle
from handfast.client.merge import Item
from handfast.client.opening import closed
from handfast.definitions.schema.arguments import UNSET, checked_methods
from handfast.definitions.schema.output_type import OutputType
from handfast.errors import (
    AnswerExpiredError,
    MessageRefusedError,
    ServerFailedError,
    TurnFailedError,
    WaitingForPeople,
)
from handfast.history.reader import ledger_changes
from handfast.payloads.events import MessageAnswered, MessagePlaced, MessageRefused, MessageSent, MessageTakenBack
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.messages import MessageReceipt
from handfast.payloads.requests import Transition
from handfast.payloads.runs import AnswerT_co
from handfast.payloads.sessions import TurnQuery, TurnResult, TurnStatus
from handfast.temporal.turns import query_in_turn

OVER: Final = frozenset({"answered", "failed", "refused"})
"""States in which nothing more comes of a message."""
FIRST_TRY: Final = timedelta(seconds=1)
"""Time after which a query is asked once more."""
ASK_AGAIN_S: Final = 1.0
"""Pause before a worker that was not there is asked again."""
OF_ONE_MESSAGE: Final = (MessageSent, MessageRefused, MessageAnswered, MessageTakenBack)
"""Events that concern nobody but who sent that message."""

T = TypeVar("T")


@checked_methods
class Turn(Generic[AnswerT_co]):
    """One message of a session, on the way to its answer.

    Attributes:
        id: The message's id.
        receipt: The session's answer when it was sent; None for one that was looked up by its id.
        begin: Offset of an event of the session before it was sent, where that is known.
    """

    def __init__(
        self,
        session: Handle,
        message_id: str,
        receipt: MessageReceipt | None = None,
        begin: str | None = None,
        readers: Mapping[str, OutputType] = MappingProxyType({}),
    ) -> None:
        """Name a message; nothing is asked of the server before the first method is awaited.

        Args:
            session: The session.
            message_id: The message's id.
            receipt: The session's answer when it was sent.
            begin: Offset of an event before it was sent; None looks from the session's first one.
            readers: Types of the agents' answers, by the agent's name.
        """
        self._readers = readers
        self.id = message_id
        self.receipt = receipt
        self._session = session
        self.begin = begin

    async def status(self) -> TurnStatus:
        """Return the state of the message.

        Raises:
            TimeoutError: No worker answered. RunNotFoundError: The server does not know the session.
            PayloadInvalidError: The message's id can be none.
        """
        query = TurnQuery.from_wire({"message_id": self.id})
        with self._session.needs_worker():
            answer = await _query_twice(self._session, "turn", query.to_wire())
        return TurnStatus.from_wire(answer)

    @overload
    async def result(
        self, *, wait_for_people: bool = ..., timeout: timedelta | None = ...
    ) -> TurnResult[AnswerT_co]: ...

    @overload
    async def result(
        self, *, output_type: type[T], wait_for_people: bool = ..., timeout: timedelta | None = ...
    ) -> TurnResult[T]: ...

    @overload
    async def result(
        self, *, output_type: Any, wait_for_people: bool = ..., timeout: timedelta | None = ...
    ) -> TurnResult[Any]: ...

    async def result(
        self, *, output_type: Any = UNSET, wait_for_people: bool = True, timeout: timedelta | None = None
    ) -> TurnResult[Any]:
        """Wait until the message has its answer, or its turn has failed.

        The wait is a long poll of the session's history: nothing is polled, and workers may come and go meanwhile.

        Args:
            output_type: Type of the output. By default the `output_type` of the agent that answered, where the session
                was named with an `Agent` or an `AgentRef` of one; None leaves it the JSON that it is.
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
        watch.reader_of(self._readers, "", output_type)  # a wrong type is refused before anybody waits
        bound_s = None if timeout is None else timeout.total_seconds()
        try:
            async with asyncio.timeout(bound_s) as bound:
                result = await self._settled(wait_for_people=wait_for_people)
        except TimeoutError as error:
            if not bound.expired():
                raise
            raise TimeoutError(f"message {self.id} was not answered in time; its session goes on") from error
        kind = watch.reader_of(self._readers, result.agent, output_type)
        if kind is None or result.failure is not None or result.expired:
            return result
        return TurnResult[Any].model_construct(**{**dict(result), "output": kind.read(result.output)})

    @overload
    async def output(self, *, wait_for_people: bool = ..., timeout: timedelta | None = ...) -> AnswerT_co: ...

    @overload
    async def output(
        self, *, output_type: type[T], wait_for_people: bool = ..., timeout: timedelta | None = ...
    ) -> T: ...

    @overload
    async def output(
        self, *, output_type: Any, wait_for_people: bool = ..., timeout: timedelta | None = ...
    ) -> Any: ...

    async def output(
        self, *, output_type: Any = UNSET, wait_for_people: bool = True, timeout: timedelta | None = None
    ) -> Any:
        """Return the answer itself: a text; for an agent with an `output_type` its value, as `result` reads it.

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

    async def stream(self, after: str | None = None) -> AsyncGenerator[Item]:
        """Yield the events of this message, from when the model may read it until it is answered or refused.

        Events, and the deltas of what is being written where the session was begun with ``stream=True``; the same
        whenever it is read. Nothing is kept for a reader, who may leave and go on.

        Args:
            after: Offset of the last event or delta of it that is not wanted any more.

        Raises:
            Exception: As `Session.stream`.
        """
        begun = after is not None
        async with aclosing(stream(self._session, after or self.begin)) as items:
            async for item in items:
                about = getattr(item, "message", None) == self.id
                begun = begun or (about and isinstance(item, MessagePlaced))
                refused = about and isinstance(item, MessageRefused) and not begun and await self._was_refused()
                if (begun and (about or not isinstance(item, OF_ONE_MESSAGE))) or refused:
                    yield item
                if refused or (about and isinstance(item, MessageAnswered)):
                    return

    async def _settled(self, *, wait_for_people: bool) -> TurnResult[Any]:
        status = await self._status_from_a_worker()
        while status.state not in OVER:
            step = await self._last_step(wait_for_people=wait_for_people)
            status = await self._status_from_a_worker()
            if step is None and status.state not in OVER:
                raise closed(self._session.id)
            if step is not None and step.what == "message_refused" and status.state == "unknown":
                status = status.model_copy(update={"state": "refused", "reason": step.why})
        if status.result is not None:
            return status.result
        raise MessageRefusedError(
            f"message {self.id} was refused: {status.reason}", message_id=self.id, reason=status.reason
        )

    async def _status_from_a_worker(self) -> TurnStatus:
        """Wait for a worker that says where the message stands."""
        while True:
            try:
                return await self.status()
            except (TimeoutError, WorkflowQueryFailedError, ServerFailedError):
                # A worker that is leaving drops what it was asked; a server refuses where it keeps too many queries.
                await asyncio.sleep(ASK_AGAIN_S)

    async def _last_step(self, *, wait_for_people: bool) -> Transition | None:
        """Read the history until the turn is over; None where the session ended first."""
        session = self._session
        async for event in session.events(wait=True):
            opened, _, log = await ledger_changes(event, session.converter)
            for step in log:
                if step.message == self.id and step.what in ("answered", "message_refused"):
                    return step
            if opened and not wait_for_people and (pending := await watch.pending(session)):
                raise WaitingForPeople(session.id, [request.id for request in pending])
        return None

    async def _was_refused(self) -> bool:
        """Tell a refused message from another one that came with its id."""
        return (await self._status_from_a_worker()).state in ("refused", "unknown")


async def _query_twice(session: Handle, name: str, arg: JsonObject) -> Any:
    """Query, and once more: a worker that evicts the session just then drops the query, which is never answered."""

    async def ask(within: timedelta) -> Any:
        try:
            return await session.workflow.query(name, arg, rpc_timeout=FIRST_TRY)
        except RPCError as error:
            if error.status not in NO_WORKER:
                raise
        return await session.workflow.query(name, arg, rpc_timeout=within - FIRST_TRY)

    return await query_in_turn(session.id, ask, ANSWER_WITHIN)
