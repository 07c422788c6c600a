"""`Turn`: one message of a session, on the way to its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast, overload

from handfast.errors import AnswerExpiredError, TurnFailedError
from handfast.live import Item
from handfast.output_type import built
from handfast.payloads.events import MessageAnswered, MessagePlaced, MessageRefused, MessageSent
from handfast.payloads.messages import MessageReceipt
from handfast.payloads.sessions import TurnResult, TurnStatus

if TYPE_CHECKING:
    from handfast.sessions import Session

T = TypeVar("T")

OF_ONE_MESSAGE: Final = (MessageSent, MessageRefused, MessageAnswered)
"""Events that concern nobody but who sent that message."""


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
