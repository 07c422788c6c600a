"""`Execution`: what runs and sessions have in common."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Mapping
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Generic, Literal, TypeVar, overload

from temporalio.client import Client

from handfast.client import decide, events, steer, transcript, watch
from handfast.client.handle import Handle
from handfast.client.merge import Item
from handfast.client.stores import Stores
from handfast.definitions.schema.arguments import UNSET, checked_methods
from handfast.definitions.schema.output_type import OutputType
from handfast.payloads.events import RunEvent
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.remember import Remember, RememberedFor
from handfast.payloads.requests import (
    Answer,
    Approve,
    CallCancelled,
    DecisionOutcome,
    Grant,
    LimitsRaised,
    Receipt,
    Reject,
    Request,
    Verdict,
)
from handfast.payloads.runs import AnswerT_co, RunResult, RunStatus
from handfast.payloads.tool_call import ToolProgress

T = TypeVar("T")


@checked_methods
class Execution(Generic[AnswerT_co]):
    """A workflow of agents by its id: watch it, decide what it asks, steer it, take its result.

    `Run` and `Session` are what it comes as. Every method raises `ServerUnavailableError` with the server away, and
    `NamespaceNotFoundError` in a missing namespace.

    Attributes:
        id: The workflow id.
    """

    def __init__(
        self,
        client: Client,
        workflow_id: str,
        run_id: str | None = None,
        stores: Stores | None = None,
        readers: Mapping[str, OutputType] = MappingProxyType({}),
    ) -> None:
        """Name an execution; nothing is asked of the server before the first method is awaited.

        Args:
            client: Connected.
            workflow_id: The run's.
            run_id: Run id of its first history; None means the newest run of that id.
            stores: Places of what the server does not have, or no longer has.
            readers: Types of the agents' answers, by the agent's name.
        """
        self._readers = readers
        self._handle = Handle(client, workflow_id, run_id, stores)

    @property
    def id(self) -> str:
        """The workflow id."""
        return self._handle.id

    # --- watching ---

    def requests(self) -> AsyncGenerator[Request]:
        """Yield each request as it opens, until the run ends; first those that are open now.

        Reads the history by long poll: no worker is needed, and nothing is polled.

        Raises:
            RunNotFoundError: The server does not know the run.
        """
        return watch.requests(self._handle)

    async def pending(self) -> list[Request]:
        """Return the requests that are open now, oldest first. Needs no worker; empty until the model's first reply.

        Raises:
            RunNotFoundError: The server does not know the run.
        """
        return await watch.pending(self._handle)

    async def in_full(self, request: Request) -> Request:
        """Return an open request with its arguments whole: lists have arguments above 2 KB by their start alone.

        One that is no longer open, or whose arguments are above 1.5 MB, comes back as it was given.

        Raises:
            TimeoutError: No worker answered.
            RunNotFoundError: The server does not know the run.
        """
        return await watch.in_full(self._handle, request)

    async def status(self) -> RunStatus:
        """Return the run's status: from the run itself, or from the server where no worker answers.

        Raises:
            RunNotFoundError: The server does not know the run.
        """
        return await watch.status(self._handle)

    async def progress(self) -> list[ToolProgress]:
        """Return the newest report of each running tool, made by `ToolContext.progress`; about a second old.

        Read from the server's record of the activities under way: it needs no worker, and is in no history.

        Raises:
            RunNotFoundError: The server does not know the run.
        """
        return await watch.progress(self._handle)

    @overload
    async def result(
        self, *, items: bool = ..., wait_for_people: bool = ..., timeout: timedelta | None = ...
    ) -> RunResult[AnswerT_co]: ...

    @overload
    async def result(
        self, *, output_type: type[T], items: bool = ..., wait_for_people: bool = ..., timeout: timedelta | None = ...
    ) -> RunResult[T]: ...

    @overload
    async def result(
        self, *, output_type: Any, items: bool = ..., wait_for_people: bool = ..., timeout: timedelta | None = ...
    ) -> RunResult[Any]: ...

    async def result(
        self,
        *,
        output_type: Any = UNSET,
        items: bool = False,
        wait_for_people: bool = True,
        timeout: timedelta | None = None,
    ) -> RunResult[Any]:
        """Wait for the run's end.

        Args:
            output_type: Type of the output. By default the `output_type` of the agent that answered, where the run was
                started with an `Agent` or an `AgentRef` of one; None leaves it the JSON that it is.
            items: Also read the run's conversation, as `transcript` does: a worker or an archive has to have it.
            wait_for_people: False raises instead of waiting for a decision.
            timeout: Longest wait; the run goes on after it.

        Raises:
            OutputInvalidError: The output is no *output_type*. DefinitionError: *output_type* is no type.
            RunFailedError: It ended without an answer.
            RunCancelledError: It was cancelled.
            WaitingForPeople: A request is open, and *wait_for_people* is False.
            TimeoutError: *timeout* passed.
            RunNotFoundError: The server does not know the run.
        """
        return await watch.result(
            self._handle,
            output_type,
            self._readers,
            items=items,
            wait_for_people=wait_for_people,
            timeout=timeout,
        )

    # --- reading on ---

    def events(self, after: str | None = None, *, wait: bool = True) -> AsyncGenerator[RunEvent]:
        """Yield the run's events, past and to come, in order, each once; the same whenever they are read.

        Computed from the history by long poll: no worker is needed, and nothing is kept for a reader, who may stall,
        leave, and go on anywhere from the offset of the last event that it had. Where the server is away, it is waited
        for, ten minutes at most.

        Args:
            after: Offset of the last event that is not wanted any more, one of `stream` too; None begins with the
                first.
            wait: Go on until the run has ended; False stops with the last event that there is.

        Raises:
            RunNotFoundError: The server does not know the run.
            OffsetUnknownError: *after* is no place in this run.
            HistoryExpiredError: The server no longer has a part of the history that is wanted, and no archive here.
            ArchiveDamagedError: The archive has it no longer as it was written. ArchiveUnavailableError: It is away.
            HistoryUnreadableError: The history was written with a codec that this client does not have.
        """
        return events.events(self._handle, after, wait=wait)

    def stream(self, after: str | None = None) -> AsyncGenerator[Item]:
        """Yield the run's events, and the deltas of calls under way, in one order.

        The deltas of a model call come behind its `TurnStarted` and before its `ModelReplied`; a tool's progress comes
        between its `ToolCalled` and its output. Where an attempt is given up, or an output guardrail withdraws what was
        said, a `DeltasDiscarded` says that the text of this turn is void. Deltas are there for runs that were started
        with ``stream=True``, for as long as the stream keeps them; without a stream of deltas, or with it away, these
        are the events alone.

        Nothing is kept for a reader, who may stall, leave, and go on anywhere from the `offset` of what it had last.

        Args:
            after: Offset of the last event or delta that is not wanted any more; None begins with the first.

        Raises:
            Exception: As `events`.
        """
        return events.stream(self._handle, after)

    async def transcript(self, *, frame: str = "0") -> list[JsonObject]:
        """Return the conversation as items of the Responses API, in order; also those that its model no longer reads.

        Comes from the run itself, which a worker has to answer; of one that has ended, from the archive where there is
        one: with workers down too, and when the server has forgotten the run.

        Args:
            frame: The loop: "0" is a run's own; nested agents, and further runs of an `AgentHost`, have later ones.

        Raises:
            HistoryExpiredError: The server no longer has the run, and no archive here has its conversation.
            RunNotFoundError: Neither knows anything of it.
            TimeoutError: No worker answered.
            ArtifactError: A part of a long conversation is kept where this client cannot read it.
            ArchiveDamagedError: The server has forgotten it, and the archive has it no longer as it was written.
            ArchiveUnavailableError: Likewise, and the archive cannot be reached.
        """
        return await transcript.transcript(self._handle, frame)

    # --- deciding ---

    async def decide(
        self,
        request: Request | str,
        verdict: Verdict,
        *,
        decided_by: str,
        note: str | None = None,
        digest: str | None = None,
        decision_id: str | None = None,
        remember: Remember | RememberedFor | None = None,
    ) -> Receipt:
        """Decide one request.

        Where no worker answers within five seconds, or the run takes no further update (the server's limit is 2,000),
        the decision is stored as a signal under the same id: it takes effect when a worker takes it, and the
        receipt's state is *stored*. For a caller who is cancelled nothing is stored; what was sent before may still
        count, and `decision` says whether it did.

        Args:
            request: The request, or its id. A `Request` also sends its digest along.
            verdict: The verdict.
            decided_by: A claimed name, recorded; with a signing key (``Handfast(signer=…)``) one that the key vouches
                for.
            note: Recorded beside it.
            digest: Refuse unless the request still has this digest.
            decision_id: Makes a repetition harmless; random by default.
            remember: The later calls of the run that it answers too, where it approves or rejects: ``"arguments"``,
                ``"tool"``, `Match` or `Remember`.

        Raises:
            RefusalError: One of its subclasses says why nothing was recorded (`RequestClosedError`,
            `UnknownRequestError`, …); before anything is sent, `DecisionInvalidError`. RunNotFoundError: The server
            does not know the run.
        """
        return await decide.decide(
            self._handle,
            request,
            verdict,
            decided_by=decided_by,
            note=note,
            digest=digest,
            decision_id=decision_id,
            remember=remember,
        )

    async def approve(
        self,
        request: Request | str,
        *,
        decided_by: str,
        note: str | None = None,
        arguments: JsonObject | None = None,
        decision_id: str | None = None,
        remember: Remember | RememberedFor | None = None,
    ) -> Receipt:
        """Let a call run; with *arguments*, run it with these instead. See `decide`.

        With *remember* later calls run without asking: ``"arguments"`` those with exactly these arguments, ``"tool"``
        all of this agent's tool, ``Match(command="pytest *")`` those that fit.
        """
        verdict = decide.made(Approve, arguments=arguments)
        return await self.decide(
            request, verdict, decided_by=decided_by, note=note, decision_id=decision_id, remember=remember
        )

    async def reject(
        self,
        request: Request | str,
        *,
        decided_by: str,
        reason: str | None = None,
        decision_id: str | None = None,
        remember: Remember | RememberedFor | None = None,
    ) -> Receipt:
        """Do not let a call run; the model reads *reason* word for word. See `decide`, and `approve` for *remember*."""
        verdict = decide.made(Reject, reason=reason)
        return await self.decide(request, verdict, decided_by=decided_by, decision_id=decision_id, remember=remember)

    async def answer(
        self,
        request: Request | str,
        output: JsonValue,
        *,
        decided_by: str,
        decision_id: str | None = None,
    ) -> Receipt:
        """Give the model *output* instead of running the call. See `decide`."""
        verdict = decide.made(Answer, output=output)
        return await self.decide(request, verdict, decided_by=decided_by, decision_id=decision_id)

    async def grant(
        self,
        request: Request | str,
        *,
        decided_by: str,
        turns: int | None = None,
        tokens: int | None = None,
        duration: timedelta | None = None,
        cost: Decimal | float | str | None = None,
        decision_id: str | None = None,
    ) -> Receipt:
        """Grant an exhausted run more turns, tokens, time or money; it goes on where it stopped. See `decide`."""
        seconds = None if duration is None else math.ceil(duration.total_seconds())
        verdict = decide.made(Grant, turns=turns, tokens=tokens, seconds=seconds, cost=cost)
        return await self.decide(request, verdict, decided_by=decided_by, decision_id=decision_id)

    async def decision(self, decision_id: str) -> DecisionOutcome:
        """Look up a decision: recorded, refused, or unknown yet.

        Raises:
            TimeoutError: No worker answered; the decision is not lost.
            RunNotFoundError: The server does not know the run.
        """
        return await decide.decision(self._handle, decision_id)

    # --- steering ---

    async def stop(self, reason: str = "") -> None:
        """Let the run end after its turn: calls under way finish, and the model is not called again.

        Raises:
            RunEndedError: It has ended already.
            RunNotFoundError: The server does not know the run.
        """
        await steer.stop(self._handle, reason)

    async def raise_limits(
        self,
        *,
        turns: int | None = None,
        tokens: int | None = None,
        duration: timedelta | None = None,
        cost: Decimal | float | str | None = None,
        by: str | None = None,
        frame: str | None = None,
        session: bool = False,
    ) -> LimitsRaised:
        """Give a run that goes on more turns, tokens, time or money; one that waits for it goes on where it stopped.

        Args:
            turns: Model replies to add.
            tokens: Tokens to add.
            duration: Time to add, in whole seconds.
            cost: Money to add.
            by: The person who raises the limits: a claimed name, recorded.
            frame: The loop, where several are at work, as `Request.frame` has it.
            session: Raise the budget of a whole session, in place of the limits of the message under way.

        Raises:
            GrantRefusedError: It would not let the run go on, or there is no such limit.
            DecisionInvalidError: Nothing is added, or several agents are at work and *frame* names none.
            RunEndedError: The run has ended.
            UpdateLimitError: Its present history takes no further update.
            TimeoutError: No worker answered; nothing was raised, unless one had just taken it.
            RunNotFoundError: The server does not know the run.
        """
        return await steer.raise_limits(
            self._handle, turns=turns, tokens=tokens, duration=duration, cost=cost, by=by, frame=frame, session=session
        )

    async def cancel_call(
        self, call_id: str, *, reason: str | None = None, by: str | None = None, frame: str | None = None
    ) -> CallCancelled:
        """End one call and leave the run: the model reads that it was cancelled, and goes on.

        A call that runs is told to stop, as by `cancel`, an agent used as a tool with all that it has under way; one
        that waits for a person or for its turn never runs, and its request is withdrawn.

        Args:
            call_id: The model's id of the call, as `status` and requests have it.
            reason: The model reads it.
            by: The person who cancels: a claimed name.
            frame: The loop, where several have a call of this id, as `Request.frame` has it.

        Raises:
            CallEndedError: It has its output already, or was never made.
            DecisionInvalidError: Several loops have such a call.
            RunEndedError: The run has ended.
            UpdateLimitError: Its present history takes no further update.
            TimeoutError: No worker answered; nothing was cancelled, unless one had just taken it.
            RunNotFoundError: The server does not know the run.
        """
        return await steer.cancel_call(self._handle, call_id, reason=reason, by=by, frame=frame)

    async def cancel(self, reason: str = "", *, mode: Literal["now", "after_turn"] = "now") -> bool:
        """Cancel the run; False where it had ended already.

        Args:
            reason: Recorded, its first 2,000 characters.
            mode: ``"after_turn"`` is `stop`: the run ends after its turn, and is no cancelled one.

        Raises:
            RunNotFoundError: The server does not know the run.
        """
        return await steer.cancel(self._handle, reason, mode)
