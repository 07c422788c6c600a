"""`Run`, `Session` and `Turn` without ``await``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Generic, TypeVar, overload

from handfast.client import run as runs, session as sessions, turn as turns
from handfast.client.execution import Execution as AsyncExecution
from handfast.definitions.schema.arguments import UNSET
from handfast.payloads.messages import MessageReceipt
from handfast.payloads.runs import AnswerT_co, RunResult
from handfast.payloads.sessions import TurnResult
from handfast.sync.loop_thread import LOOP
from handfast.sync.methods import Blocking, blocking, iterating, named, turned

A_co = TypeVar("A_co", bound=AsyncExecution[Any], covariant=True)
T = TypeVar("T")


class Execution(Blocking[A_co], Generic[A_co, AnswerT_co]):
    """See `handfast.client.execution.Execution`."""

    @property
    def id(self) -> str:
        """The workflow id."""
        return self.asynchronous.id

    requests = iterating(AsyncExecution.requests)
    pending = blocking(AsyncExecution.pending)
    in_full = blocking(AsyncExecution.in_full)
    status = blocking(AsyncExecution.status)
    progress = blocking(AsyncExecution.progress)

    @overload
    def result(
        self, *, items: bool = ..., wait_for_people: bool = ..., timeout: timedelta | None = ...
    ) -> RunResult[AnswerT_co]: ...

    @overload
    def result(
        self, *, output_type: type[T], items: bool = ..., wait_for_people: bool = ..., timeout: timedelta | None = ...
    ) -> RunResult[T]: ...

    @overload
    def result(
        self, *, output_type: Any, items: bool = ..., wait_for_people: bool = ..., timeout: timedelta | None = ...
    ) -> RunResult[Any]: ...

    def result(
        self,
        *,
        output_type: Any = UNSET,
        items: bool = False,
        wait_for_people: bool = True,
        timeout: timedelta | None = None,
    ) -> RunResult[Any]:
        """Wait for the run's end, as `handfast.Run.result` does."""
        return LOOP.run(
            lambda: self.asynchronous.result(
                output_type=output_type, items=items, wait_for_people=wait_for_people, timeout=timeout
            )
        )

    events = iterating(AsyncExecution.events)
    stream = iterating(AsyncExecution.stream)
    transcript = blocking(AsyncExecution.transcript)
    decide = blocking(AsyncExecution.decide)
    approve = blocking(AsyncExecution.approve)
    reject = blocking(AsyncExecution.reject)
    answer = blocking(AsyncExecution.answer)
    grant = blocking(AsyncExecution.grant)
    decision = blocking(AsyncExecution.decision)
    raise_limits = blocking(AsyncExecution.raise_limits)
    cancel_call = blocking(AsyncExecution.cancel_call)
    stop = blocking(AsyncExecution.stop)
    cancel = blocking(AsyncExecution.cancel)


class Run(Execution[runs.Run[AnswerT_co], AnswerT_co], Generic[AnswerT_co]):
    """One run, as `handfast.Run`, whose methods are those."""

    send = blocking(runs.Run.send)


class Turn(Blocking[turns.Turn[AnswerT_co]], Generic[AnswerT_co]):
    """One message of a session, as `handfast.Turn`, whose methods are those."""

    @property
    def id(self) -> str:
        """The message's id."""
        return self.asynchronous.id

    @property
    def receipt(self) -> MessageReceipt | None:
        """The session's answer when it was sent; None for one that was looked up by its id."""
        return self.asynchronous.receipt

    @property
    def begin(self) -> str | None:
        """Offset of an event of the session before it was sent, where that is known."""
        return self.asynchronous.begin

    status = blocking(turns.Turn.status)
    output = blocking(turns.Turn.output)
    stream = iterating(turns.Turn.stream)

    @overload
    def result(self, *, wait_for_people: bool = ..., timeout: timedelta | None = ...) -> TurnResult[AnswerT_co]: ...

    @overload
    def result(
        self, *, output_type: type[T], wait_for_people: bool = ..., timeout: timedelta | None = ...
    ) -> TurnResult[T]: ...

    @overload
    def result(
        self, *, output_type: Any, wait_for_people: bool = ..., timeout: timedelta | None = ...
    ) -> TurnResult[Any]: ...

    def result(
        self, *, output_type: Any = UNSET, wait_for_people: bool = True, timeout: timedelta | None = None
    ) -> TurnResult[Any]:
        """Wait until the message has its answer, as `handfast.Turn.result` does."""
        return LOOP.run(
            lambda: self.asynchronous.result(output_type=output_type, wait_for_people=wait_for_people, timeout=timeout)
        )


class Session(Execution[sessions.Session[AnswerT_co], Any], Generic[AnswerT_co]):
    """A conversation, as `handfast.Session`, whose methods are those."""

    send = turned(sessions.Session.send, Turn)
    turn = named(sessions.Session.turn, Turn)
    items = blocking(sessions.Session.items)
    take_back = blocking(sessions.Session.take_back)
    close = blocking(sessions.Session.close)
