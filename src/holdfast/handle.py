"""`Run`: one run, as a client sees it."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, TypeVar, overload

from pydantic import ValidationError
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError
from temporalio.service import RPCError, RPCStatusCode

from holdfast._rpc import is_update_limit, typed_errors
from holdfast.converter import tolerant
from holdfast.deciding import Deciding
from holdfast.errors import (
    REFUSALS,
    DecisionInvalidError,
    PayloadInvalidError,
    RefusalError,
    RunCancelledError,
    RunEndedError,
    RunFailedError,
    RunNotFoundError,
    WaitingForPeople,
)
from holdfast.events import cancel_reason, history_of, ledger_changes, requests_in_memo, result_of
from holdfast.output_type import built, typed_result
from holdfast.payloads.base import problems_of
from holdfast.payloads.cancel_call import CallCancelled, CancelCall
from holdfast.payloads.json_profile import JsonObject
from holdfast.payloads.progress import ToolProgress
from holdfast.payloads.remember import Remember, RememberedFor
from holdfast.payloads.requests import (
    DECISION_BYTES,
    Decision,
    DecisionOutcome,
    LimitsRaised,
    RaiseLimits,
    Receipt,
    Request,
    Verdict,
)
from holdfast.payloads.runs import RunPhase, RunResult, RunStatus
from holdfast.payloads.usage import Spent, Usage

ANSWER_WITHIN: Final = timedelta(seconds=5)
"""How long an update may take before the decision is stored by signal instead."""
SPENT_WITHIN: Final = timedelta(seconds=2)
"""How long a cancelled run is asked for what it has spent."""
OWN_WORKFLOWS: Final = frozenset({"AgentRun", "AgentSession"})
"""Workflows whose handlers have no prefix."""

_NO_WORKER: Final = frozenset(
    {RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.FAILED_PRECONDITION}
)
"""What a query meets where no worker polls: our deadline, the server's, or that nobody polled for a while."""
_ENDED: Final[dict[WorkflowExecutionStatus, RunPhase]] = {
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.TIMED_OUT: "failed",
    WorkflowExecutionStatus.TERMINATED: "failed",
    WorkflowExecutionStatus.CANCELED: "cancelled",
}

T = TypeVar("T")


class Run(Deciding):
    """One run: watch it, decide what it asks, cancel it, take its result.

    Every method raises `ServerUnavailableError` with the server away, and `NamespaceNotFoundError` in a missing
    namespace.

    Attributes:
        id: The workflow id.
    """

    def __init__(self, client: Client, workflow_id: str, run_id: str | None = None) -> None:
        """Name a run; nothing is asked of the server before the first method is awaited."""
        self.id = workflow_id
        self._client = client
        self._handle: WorkflowHandle[Any, Any] = client.get_workflow_handle(workflow_id, run_id=run_id)
        self._converter = tolerant(client.data_converter)
        self._known_prefix: str | None = None

    # --- watching ---

    async def requests(self) -> AsyncIterator[Request]:
        """Yield each request as it opens, until the run ends; first those that are open now.

        Reads the history by long poll: no worker is needed, and nothing is polled.

        Raises:
            RunNotFoundError: The server does not know the run.
        """
        closed: set[str] = set()  # or yielded already
        async for event in self._events(wait=False):
            closed |= (await ledger_changes(event, self._converter))[1]
        async for event in self._events(wait=True):
            for request in (await ledger_changes(event, self._converter))[0]:
                if request.id not in closed:
                    closed.add(request.id)  # it is published again with each vote
                    yield request

    async def pending(self) -> list[Request]:
        """The requests that are open now, oldest first. Needs no worker; empty until the model's first reply."""
        description = await self._describe()
        if description.status is not WorkflowExecutionStatus.RUNNING:
            return []
        return requests_in_memo(dict(await description.memo()))

    async def status(self) -> RunStatus:
        """Where the run stands: from the run itself, or from the server where no worker answers."""
        description = await self._describe()
        ended = _ENDED.get(description.status) if description.status else None
        try:
            answer = await self._handle.query(f"{self._prefix(description)}status", rpc_timeout=ANSWER_WITHIN)
            status = RunStatus.from_wire(answer)
        except (RPCError, WorkflowQueryFailedError):
            pending = [] if ended else requests_in_memo(dict(await description.memo()))
            status = RunStatus(status="waiting" if pending else "running", pending=len(pending))
        if ended is not None:
            return status.model_copy(update={"status": ended, "pending": 0, "problem": None})
        return status.model_copy(update={"problem": status.problem or _trouble(description)})

    async def progress(self) -> list[ToolProgress]:
        """What running tools say of themselves by `ToolContext.progress`, the newest of each; about a second old.

        Read from the server's word on the activities under way: it needs no worker, and is in no history.
        """
        found: list[ToolProgress] = []
        for pending in (await self._describe()).raw_description.pending_activities:
            if not pending.activity_type.name.startswith("holdfast.tool."):
                continue
            details = await self._converter.decode(list(pending.heartbeat_details.payloads))
            for told in details[1:2]:  # the first is the mark
                with suppress(PayloadInvalidError):
                    found.append(ToolProgress.from_wire(told))
        return found

    @overload
    async def result(self, *, wait_for_people: bool = ..., timeout: timedelta | None = ...) -> RunResult: ...

    @overload
    async def result(
        self, *, output_type: type[T], wait_for_people: bool = ..., timeout: timedelta | None = ...
    ) -> RunResult[T]: ...

    @overload
    async def result(
        self, *, output_type: Any, wait_for_people: bool = ..., timeout: timedelta | None = ...
    ) -> RunResult[Any]: ...

    async def result(
        self, *, output_type: Any = None, wait_for_people: bool = True, timeout: timedelta | None = None
    ) -> RunResult[Any]:
        """Wait for the run's end.

        Args:
            output_type: Type of the output, as the agent's `output_type`; None leaves it the JSON that it is.
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
        kind = None if output_type is None else built(output_type, "result")
        bound_s = None if timeout is None else timeout.total_seconds()
        try:
            async with asyncio.timeout(bound_s) as bound:
                if not wait_for_people:
                    await self._until_a_request()
                with typed_errors(self._client, self.id):
                    result = RunResult.from_wire(await result_of(self._handle))
                return result if kind is None else typed_result(result, kind)
        except WorkflowFailureError as error:
            raise await self._failure(error) from error
        except TimeoutError as error:
            if not bound.expired():
                raise
            raise TimeoutError(f"{self.id} did not end in time; it goes on") from error

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
            verdict: What is decided.
            decided_by: A claimed name, recorded.
            note: Recorded beside it.
            digest: Refuse unless the request still has this digest.
            decision_id: Makes a repetition harmless; random by default.
            remember: Which later calls of the run it answers too, where it approves or rejects: ``"arguments"``,
                ``"tool"``, `Match` or `Remember`.

        Raises:
            RefusalError: One of its subclasses says why nothing was recorded (`RequestClosedError`,
            `UnknownRequestError`, …). RunNotFoundError: The server does not know the run.
        """
        decision = Decision(
            id=request if isinstance(request, str) else request.id,
            verdict=verdict,
            decided_by=decided_by,
            digest=digest if digest or isinstance(request, str) else request.digest,
            decision_id=decision_id or str(uuid.uuid4()),
            note=note,
            remember=None if remember is None else Remember.from_wire(remember),
        )
        if decision.size > DECISION_BYTES:
            raise DecisionInvalidError(f"a decision may have {DECISION_BYTES // 1024} KiB at most", request=decision.id)
        prefix = self._prefix(await self._describe())
        with typed_errors(self._client, self.id):
            try:
                receipt = await self._by_update(f"{prefix}decide", decision)
                if receipt is not None:
                    return receipt
                await self._handle.signal(f"{prefix}decide", decision.to_wire())
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    raise self._ended(await self._describe()) from error
                raise
        return Receipt(
            id=decision.id,
            verdict=decision.verdict.kind,
            decided_by=decided_by,
            decision_id=decision.decision_id,
            state="stored",
        )

    async def raise_limits(
        self,
        *,
        turns: int | None = None,
        tokens: int | None = None,
        by: str | None = None,
        frame: str | None = None,
    ) -> LimitsRaised:
        """Give a run that goes on more turns or tokens; one that waits for a budget goes on where it stopped.

        Args:
            turns: Model replies to add.
            tokens: Tokens to add.
            by: Who raises the limits: a claimed name, recorded.
            frame: Which loop, where several are at work; `Request.frame` says it.

        Raises:
            GrantRefusedError: It would not let the run go on, or there is no such limit.
            DecisionInvalidError: Nothing is added, or several agents are at work and *frame* names none.
            RunEndedError: The run has ended.
            TimeoutError: No worker answered; nothing was raised, unless one had just taken it.
            RunNotFoundError: The server does not know the run.
        """
        try:
            given = RaiseLimits(turns=turns, tokens=tokens, by=by, frame=frame)
        except ValidationError as error:
            raise DecisionInvalidError("; ".join(problems_of(error))) from None
        return LimitsRaised.from_wire(await self._update("raise_limits", given.to_wire()))

    async def cancel_call(
        self, call_id: str, *, reason: str | None = None, by: str | None = None, frame: str | None = None
    ) -> CallCancelled:
        """End one call and leave the run: the model reads that it was cancelled, and goes on.

        A call that runs is told to stop, as by `cancel`, an agent used as a tool with all that it has under way; one
        that waits for a person or for its turn never runs, and its request is withdrawn.

        Args:
            call_id: The model's id of the call, as `status` and requests have it.
            reason: The model reads it.
            by: Who cancels: a claimed name.
            frame: Which loop, where several have a call of this id; `Request.frame` says it.

        Raises:
            CallEndedError: It has its output already, or was never made.
            DecisionInvalidError: Several loops have such a call.
            RunEndedError: The run has ended.
            TimeoutError: No worker answered; nothing was cancelled, unless one had just taken it.
            RunNotFoundError: The server does not know the run.
        """
        try:
            given = CancelCall(call_id=call_id, reason=reason, by=by, frame=frame)
        except ValidationError as error:
            raise DecisionInvalidError("; ".join(problems_of(error))) from None
        return CallCancelled.from_wire(await self._update("cancel_call", given.to_wire()))

    async def decision(self, decision_id: str) -> DecisionOutcome:
        """What became of a decision: recorded, refused, or unknown yet.

        Raises:
            TimeoutError: No worker answered; the decision is not lost.
            RunNotFoundError: The server does not know the run.
        """
        prefix = self._prefix(await self._describe())
        with typed_errors(self._client, self.id):
            try:
                answer = await self._handle.query(
                    f"{prefix}decision", {"decision_id": decision_id}, rpc_timeout=ANSWER_WITHIN
                )
            except RPCError as error:
                if error.status not in _NO_WORKER:
                    raise
                raise TimeoutError(f"no worker of {self.id} answered; ask again when one is back") from error
        return DecisionOutcome.from_wire(answer)

    async def cancel(self, reason: str = "") -> bool:
        """Cancel the run; False where it had ended already.

        Raises:
            RunNotFoundError: The server does not know the run.
        """
        if (await self._describe()).status is not WorkflowExecutionStatus.RUNNING:
            return False
        try:
            with typed_errors(self._client, self.id):
                await self._handle.cancel(reason=reason)
        except RunNotFoundError:
            return False  # it ended in between
        return True

    # --- inside ---

    async def _until_a_request(self) -> None:
        async for request in self.requests():
            waiting = [each.id for each in await self.pending()] or [request.id]
            raise WaitingForPeople(self.id, waiting)

    async def _events(self, *, wait: bool) -> AsyncIterator[Any]:
        with typed_errors(self._client, self.id):
            async for event in history_of(self._handle, wait=wait):
                yield event

    async def _describe(self) -> WorkflowExecutionDescription:
        with typed_errors(self._client, self.id):
            return await self._handle.describe()

    def _prefix(self, description: WorkflowExecutionDescription) -> str:
        return "" if description.workflow_type in OWN_WORKFLOWS else "holdfast."

    async def _update(self, name: str, arg: JsonObject) -> object:
        """Send an update that only a worker can answer."""
        description = await self._describe()
        if description.status is not WorkflowExecutionStatus.RUNNING:
            raise self._ended(description)
        with typed_errors(self._client, self.id):
            try:
                return await self._handle.execute_update(
                    f"{self._prefix(description)}{name}", arg, rpc_timeout=ANSWER_WITHIN
                )
            except WorkflowUpdateFailedError as error:
                raise _refusal(error.cause) from error
            except WorkflowUpdateRPCTimeoutOrCancelledError as error:
                if isinstance(error.__cause__, asyncio.CancelledError):
                    raise error.__cause__ from None
                raise TimeoutError(f"no worker of {self.id} answered; look at its status, then try again") from error

    async def _by_update(self, name: str, decision: Decision) -> Receipt | None:
        """Decide by the update, which answers; None where only the signal is left."""
        try:
            answer = await self._handle.execute_update(
                name, decision.to_wire(), id=_update_id(decision), rpc_timeout=ANSWER_WITHIN
            )
        except WorkflowUpdateFailedError as error:
            raise _refusal(error.cause) from error
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            if isinstance(error.__cause__, asyncio.CancelledError):
                raise error.__cause__ from None  # the caller's own cancellation: nothing more is sent
            return None
        except RPCError as error:
            if is_update_limit(error):
                return None
            raise
        return Receipt.from_wire(answer)

    def _ended(self, description: WorkflowExecutionDescription) -> RunEndedError:
        state = _ENDED.get(description.status, "ended") if description.status else "ended"
        return RunEndedError(f"{self.id} has ended ({state}); nothing of it waits any longer", run=self.id, state=state)

    async def _spent(self) -> Usage | None:
        """What a cancelled run had spent: its last event cannot say, so a worker is asked, for a moment."""
        try:
            description = await self._handle.describe()
            answer = await self._handle.query(f"{self._prefix(description)}status", rpc_timeout=SPENT_WITHIN)
            return RunStatus.from_wire(answer).usage
        except (RPCError, WorkflowQueryFailedError, PayloadInvalidError):
            return None

    async def _failure(self, error: WorkflowFailureError) -> Exception:
        cause = error.cause
        if isinstance(cause, CancelledError):
            with typed_errors(self._client, self.id):
                history = await self._handle.fetch_history()
            return RunCancelledError(self.id, cancel_reason(history.events), await self._spent())
        if isinstance(cause, ApplicationError):
            facts = cause.details[0] if cause.details else None
            known = facts if isinstance(facts, dict) else None
            return RunFailedError(self.id, cause.type or "ApplicationError", cause.message, known, _usage_in(cause))
        if isinstance(cause, TerminatedError):
            return RunFailedError(self.id, "Terminated", "terminated; a call under way may have taken effect")
        return RunFailedError(self.id, type(cause).__name__, str(cause))


def _usage_in(error: ApplicationError) -> Usage | None:
    try:
        return Spent.from_wire(error.details[1]).usage if len(error.details) > 1 else None
    except PayloadInvalidError:
        return None


def _update_id(decision: Decision) -> str:
    """The server answers a repeated update id with its first result, whatever the content: so the id covers it."""
    content = hashlib.sha256(decision.model_dump_json().encode()).hexdigest()
    return f"{decision.decision_id}:{content[:16]}"


def _refusal(cause: BaseException | None) -> Exception:
    if isinstance(cause, ApplicationError) and cause.type in REFUSALS:
        facts = cause.details[0] if cause.details else {}
        return REFUSALS[cause.type](cause.message, **(facts if isinstance(facts, dict) else {}))
    return RefusalError(str(cause))


def _trouble(description: WorkflowExecutionDescription) -> str | None:
    """What an activity under way has run into, as the server sees it."""
    for pending in description.raw_description.pending_activities:
        if pending.attempt > 1 and pending.HasField("last_failure"):
            return f"{pending.activity_type.name}, attempt {pending.attempt}: {pending.last_failure.message}"
    return None
