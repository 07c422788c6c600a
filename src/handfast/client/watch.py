"""Watching a run: what it asks, where it stands, how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, TypeVar, overload

from temporalio.client import (
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError, TimeoutError as CutOffError
from temporalio.service import RPCError

from handfast.client.base import ENDED, NO_WORKER, Reach
from handfast.client.trouble import activity_trouble, trouble_of
from handfast.definitions.schema.output_type import built, typed_result
from handfast.encryption.cancel_reason import revealed
from handfast.errors import (
    HandfastError,
    HistoryUnreadableError,
    PayloadInvalidError,
    RunCancelledError,
    RunFailedError,
    WaitingForPeople,
)
from handfast.history.chain import is_to_begin_again
from handfast.history.events import fact_of, project
from handfast.history.reader import cancel_reason, history_of, ledger_changes, requests_in_memo, result_of
from handfast.payloads.events import MayHaveHappened
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.progress import ToolProgress
from handfast.payloads.requests import Request
from handfast.payloads.runs import RunResult, RunStatus
from handfast.payloads.usage import Spent, Usage
from handfast.temporal.rpc import typed_errors

SPENT_WITHIN: Final = timedelta(seconds=2)
"""How long a cancelled run is asked for what it has spent."""

T = TypeVar("T")


class Watching(Reach):
    """What can be seen of a run."""

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
        return await self._waiting(description)

    async def in_full(self, request: Request) -> Request:
        """An open request with its arguments whole, however long: lists have those above 2 KB by their start alone.

        One that is no longer open, or whose arguments are above 1.5 MB, comes back as it was given.

        Raises:
            TimeoutError: No worker answered.
            RunNotFoundError: The server does not know the run.
        """
        description = await self._describe()
        with typed_errors(self._client, self.id):
            try:
                answer = await self._query(description, "pending_approvals", {"id": request.id})
            except RPCError as error:
                if error.status not in NO_WORKER:
                    raise
                raise TimeoutError(f"no worker of {self.id} answered; ask again when one is back") from error
        found = (each for each in map(Request.from_wire, answer) if each.id == request.id)
        return next(found, request)

    async def status(self) -> RunStatus:
        """Where the run stands: from the run itself, or from the server where no worker answers."""
        description = await self._describe()
        ended = ENDED.get(description.status) if description.status else None
        try:
            answer = await self._query(description, "status")
            status = RunStatus.from_wire(answer)
        except (RPCError, WorkflowQueryFailedError):
            pending = [] if ended else await self._waiting(description)
            status = RunStatus(status="waiting" if pending else "running", pending=len(pending))
            with typed_errors(self._client, self.id):
                trouble = await trouble_of(self._client, description, attempts=2)
        else:
            trouble = await activity_trouble(description, attempts=2)
        if ended is not None:
            return status.model_copy(update={"status": ended, "pending": 0, "problem": None})
        return status.model_copy(update={"problem": status.problem or (None if trouble is None else str(trouble))})

    async def progress(self) -> list[ToolProgress]:
        """What running tools say of themselves by `ToolContext.progress`, the newest of each; about a second old.

        Read from the server's word on the activities under way: it needs no worker, and is in no history.
        """
        found: list[ToolProgress] = []
        for pending in (await self._describe()).raw_description.pending_activities:
            if not pending.activity_type.name.startswith("handfast.tool."):
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
                begun = (await self._describe()).run_id
                with typed_errors(self._client, self.id):
                    handle = self._client.get_workflow_handle(self.id, run_id=begun)
                    result = RunResult.from_wire(await result_of(handle))
                return result if kind is None else typed_result(result, kind)
        except WorkflowFailureError as error:
            raise await self._failure(error) from error
        except TimeoutError as error:
            if not bound.expired():
                raise
            raise TimeoutError(f"{self.id} did not end in time; it goes on") from error

    # --- inside ---

    async def _waiting(self, description: WorkflowExecutionDescription) -> list[Request]:
        """The requests of a run that goes on, without a worker."""
        requests = requests_in_memo(dict(await description.memo()))
        if requests:
            with typed_errors(self._client, self.id):
                if await is_to_begin_again(self._client, description):
                    return []
        return requests

    async def _until_a_request(self) -> None:
        async for request in self.requests():
            waiting = [each.id for each in await self.pending()] or [request.id]
            raise WaitingForPeople(self.id, waiting)

    async def _spent(self) -> Usage | None:
        """What a cancelled run had spent: its last event cannot say, so a worker is asked, for a moment."""
        try:
            description = await self._describe()
            answer = await self._query(description, "status", within=SPENT_WITHIN)
            return RunStatus.from_wire(answer).usage
        except (RPCError, WorkflowQueryFailedError, HandfastError):
            return None

    async def _failure(self, error: WorkflowFailureError) -> Exception:
        cause = error.cause
        if isinstance(cause, CancelledError):
            events = [event async for event in self._events(wait=False)]
            reason = await revealed(cancel_reason(events), self._converter)
            return RunCancelledError(self.id, reason, await self._spent())
        if isinstance(cause, ApplicationError):
            facts = cause.details[0] if cause.details else None
            known = facts if isinstance(facts, dict) else None
            return RunFailedError(self.id, cause.type or "ApplicationError", cause.message, known, _usage_in(cause))
        if isinstance(cause, TerminatedError | CutOffError):
            terminated = isinstance(cause, TerminatedError)
            kind, how = ("Terminated", "terminated") if terminated else ("TimedOut", "timed out")
            await self._describe()
            calls = await _unknown_effects(self._handle, self._converter)
            what = ", ".join(f"{call['tool']} ({call['call_id']})" for call in calls) or "no call"
            text = f"it was {how} from outside; {what} may have taken effect"
            return RunFailedError(self.id, kind, text, {"may_have_happened": calls})
        return RunFailedError(self.id, type(cause).__name__, str(cause))


def _usage_in(error: ApplicationError) -> Usage | None:
    try:
        return Spent.from_wire(error.details[1]).usage if len(error.details) > 1 else None
    except PayloadInvalidError:
        return None


async def _unknown_effects(handle: WorkflowHandle[Any, Any], converter: DataConverter) -> list[JsonObject]:
    """Read the calls whose effect is unknown from the run's last history; none where that cannot be read here.

    Args:
        handle: Of that history.
        converter: A tolerant one.
    """
    try:
        told = [event async for event in project(handle.run_id or "", history_of(handle, wait=False), converter)]
    except HistoryUnreadableError:
        return []
    return [fact_of(event) for event in told if isinstance(event, MayHaveHappened)]
