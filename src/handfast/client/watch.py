"""Look at a run: its open requests, its status, its result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from temporalio.client import (
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowQueryFailedError,
)
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError, TimeoutError as CutOffError
from temporalio.service import RPCError

from handfast.client.handle import PHASE_AT_END, Handle
from handfast.client.transcript import transcript
from handfast.client.trouble import activity_trouble, trouble_of
from handfast.definitions.schema.arguments import UNSET
from handfast.definitions.schema.output_type import OutputType, built, typed_result
from handfast.encryption.converter import revealed
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
from handfast.payloads.requests import Request
from handfast.payloads.runs import RunResult, RunStatus
from handfast.payloads.tool_call import CALL_TYPES, ToolProgress
from handfast.payloads.usage import Spent, Usage
from handfast.temporal.rpc import typed_errors

SPENT_WITHIN: Final = timedelta(seconds=2)
"""Time for the query for a cancelled run's usage."""


async def requests(run: Handle) -> AsyncGenerator[Request]:
    """See `Execution.requests`."""
    closed: set[str] = set()  # or yielded already
    async for event in run.events(wait=False):
        closed |= (await ledger_changes(event, run.converter))[1]
    async for event in run.events(wait=True):
        for request in (await ledger_changes(event, run.converter))[0]:
            if request.id not in closed:
                closed.add(request.id)  # it is published again with each vote
                yield request


async def pending(run: Handle) -> list[Request]:
    """See `Execution.pending`."""
    description = await run.describe()
    if description.status is not WorkflowExecutionStatus.RUNNING:
        return []
    return await _waiting(run, description)


async def in_full(run: Handle, request: Request) -> Request:
    """See `Execution.in_full`."""
    description = await run.describe()
    with run.needs_worker():
        answer = await run.query(description, "pending_approvals", {"id": request.id})
    found = (each for each in map(Request.from_wire, answer) if each.id == request.id)
    return next(found, request)


async def status(run: Handle) -> RunStatus:
    """See `Execution.status`."""
    description = await run.describe()
    ended = PHASE_AT_END.get(description.status) if description.status else None
    try:
        answer = await run.query(description, "status")
        found = RunStatus.from_wire(answer)
    except (RPCError, WorkflowQueryFailedError):
        waiting = [] if ended else await _waiting(run, description)
        found = RunStatus(status="waiting" if waiting else "running", pending=len(waiting))
        with typed_errors(run.client, run.id):
            trouble = await trouble_of(run.client, description, attempts=2)
    else:
        trouble = await activity_trouble(description, attempts=2)
    if ended is not None:
        return found.model_copy(update={"status": ended, "pending": 0, "problem": None})
    return found.model_copy(update={"problem": found.problem or (None if trouble is None else str(trouble))})


async def progress(run: Handle) -> list[ToolProgress]:
    """See `Execution.progress`."""
    found: list[ToolProgress] = []
    for activity in (await run.describe()).raw_description.pending_activities:
        if not activity.activity_type.name.startswith(CALL_TYPES):
            continue
        details = await run.converter.decode(list(activity.heartbeat_details.payloads))
        for told in details[1:2]:  # the first is the mark
            with suppress(PayloadInvalidError):
                found.append(ToolProgress.from_wire(told))
    return found


def reader_of(readers: Mapping[str, OutputType], agent: str, output_type: Any) -> OutputType | None:
    """Return the type as which an answer is read: the wanted one, else that of the agent that gave it, where known.

    Raises:
        DefinitionError: The wanted one is no type.
    """
    if output_type is UNSET:
        return readers.get(agent)
    return None if output_type is None else built(output_type, "result")


async def result(
    run: Handle,
    output_type: Any,
    readers: Mapping[str, OutputType],
    *,
    items: bool,
    wait_for_people: bool,
    timeout: timedelta | None,
) -> RunResult[Any]:
    """See `Execution.result`."""
    reader_of(readers, "", output_type)  # a wrong type is refused before anybody waits
    bound_s = None if timeout is None else timeout.total_seconds()
    try:
        async with asyncio.timeout(bound_s) as bound:
            if not wait_for_people:
                await _until_a_request(run)
            begun = (await run.describe()).run_id
            with typed_errors(run.client, run.id):
                handle = run.client.get_workflow_handle(run.id, run_id=begun)
                found = RunResult.from_wire(await result_of(handle))
            if items:
                found = found.model_copy(update={"items": await transcript(run, "0")})
            kind = reader_of(readers, found.agent, output_type)
            return found if kind is None else typed_result(found, kind)
    except WorkflowFailureError as error:
        raise await _failure(run, error) from error
    except TimeoutError as error:
        if not bound.expired():
            raise
        raise TimeoutError(f"{run.id} did not end in time; it goes on") from error


async def _waiting(run: Handle, description: WorkflowExecutionDescription) -> list[Request]:
    found = requests_in_memo(dict(await description.memo()))
    if found:
        with typed_errors(run.client, run.id):
            if await is_to_begin_again(run.client, description):
                return []
    return found


async def _until_a_request(run: Handle) -> None:
    async for request in requests(run):
        waiting = [each.id for each in await pending(run)] or [request.id]
        raise WaitingForPeople(run.id, waiting)


async def _spent(run: Handle) -> Usage | None:
    """Ask a worker for a cancelled run's usage: the last event of its history cannot hold it."""
    try:
        description = await run.describe()
        answer = await run.query(description, "status", within=SPENT_WITHIN)
        return RunStatus.from_wire(answer).usage
    except (RPCError, WorkflowQueryFailedError, HandfastError):
        return None


async def _failure(run: Handle, error: WorkflowFailureError) -> Exception:
    cause = error.cause
    if isinstance(cause, CancelledError):
        events = [event async for event in run.events(wait=False)]
        reason = await revealed(cancel_reason(events), run.converter)
        return RunCancelledError(run.id, reason, await _spent(run))
    if isinstance(cause, ApplicationError):
        facts = cause.details[0] if cause.details else None
        known = facts if isinstance(facts, dict) else None
        return RunFailedError(run.id, cause.type or "ApplicationError", cause.message, known, _usage_in(cause))
    if isinstance(cause, TerminatedError | CutOffError):
        terminated = isinstance(cause, TerminatedError)
        kind, how = ("Terminated", "terminated") if terminated else ("TimedOut", "timed out")
        await run.describe()
        calls = await _unknown_effects(run)
        what = ", ".join(f"{call['tool']} ({call['call_id']})" for call in calls) or "no call"
        text = f"it was {how} from outside; {what} may have taken effect"
        return RunFailedError(run.id, kind, text, {"may_have_happened": calls})
    return RunFailedError(run.id, type(cause).__name__, str(cause))


def _usage_in(error: ApplicationError) -> Usage | None:
    try:
        return Spent.from_wire(error.details[1]).usage if len(error.details) > 1 else None
    except PayloadInvalidError:
        return None


async def _unknown_effects(run: Handle) -> list[JsonObject]:
    """Read the calls whose effect is unknown from the run's last history; none where that cannot be read here.

    The history does not show which activities a worker had taken: all that were scheduled may have happened.
    """
    last = run.workflow
    try:
        told = [event async for event in project(last.run_id or "", history_of(last, wait=False), run.converter)]
    except HistoryUnreadableError:
        return []
    return [fact_of(event) for event in told if isinstance(event, MayHaveHappened)]
