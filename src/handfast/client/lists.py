"""List runs and requests across runs, from visibility: no worker is asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from temporalio.client import Client, WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from handfast.client.handle import AT_A_TIME, PHASE_AT_END
from handfast.client.trouble import Polled, Trouble, trouble_of
from handfast.errors import HistoryUnreadableError, SearchAttributesMissingError
from handfast.history.reader import requests_in_memo
from handfast.payloads.people import is_group, named
from handfast.payloads.requests import Request
from handfast.payloads.runs import OWN_WORKFLOWS, RunPhase
from handfast.temporal.rpc import typed_errors
from handfast.temporal.search_attributes import (
    AGENT,
    APPROVERS,
    DUE,
    LABELS,
    PENDING,
    STATUS,
    about_attributes,
    quoted,
)

logger = logging.getLogger(__name__)

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class RunInfo:
    """A run in a list across runs.

    Attributes:
        status: *running*, *waiting*, *completed*, *failed* or *cancelled*.
        due: The nearest deadline of what is pending.
    """

    id: str
    run_id: str
    workflow: str
    agent: str | None
    status: RunPhase
    pending: int
    labels: tuple[str, ...]
    started_at: datetime
    ended_at: datetime | None
    due: datetime | None


@dataclass(frozen=True)
class OpenRequest:
    """A request and the run that it belongs to."""

    run: str
    request: Request


def of_agents() -> str:
    """Write the clause of a visibility query that finds runs of agents, those in users' own workflows too."""
    return f"(WorkflowType IN ({quoted(sorted(OWN_WORKFLOWS))}) OR {STATUS.name} IS NOT NULL)"


def ordered(found: list[OpenRequest], by: Literal["age", "due"]) -> list[OpenRequest]:
    """Sort requests: the oldest first; or the nearest deadline first, those without one last."""
    aged = sorted(found, key=lambda item: item.request.order)
    return aged if by == "age" else sorted(aged, key=lambda item: item.request.deadline or _NEVER)


async def runs(
    client: Client, *, status: RunPhase | None, agent: str | None, label: str | None, limit: int
) -> list[RunInfo]:
    """See `Handfast.runs`."""
    clauses = [of_agents()]
    if status is not None:
        clauses.append(_in_phase(status))
    if agent is not None:
        clauses.append(f"{AGENT.name} = {quoted([agent])}")
    if label is not None:
        clauses.append(f"{LABELS.name} = {quoted([label])}")
    return [_info(execution) async for execution in _list(client, " AND ".join(clauses), limit)]


async def requests(
    client: Client,
    *,
    agent: str | None,
    approver: str | None,
    labels: Mapping[str, str] | None,
    tool: str | None,
    order_by: Literal["age", "due"],
    limit: int,
) -> list[OpenRequest]:
    """See `Handfast.requests`."""
    clauses = [f"{PENDING.name} > 0 AND ExecutionStatus = 'Running'"]
    if agent is not None:
        clauses.append(f"{AGENT.name} = {quoted([agent])}")
    if approver is not None and is_group(approver):
        clauses.append(f"{APPROVERS.name} = {quoted([approver])}")  # people are in the requests alone
    clauses += [f"{LABELS.name} = {quoted([f'{key}={value}'])}" for key, value in (labels or {}).items()]
    found = [
        OpenRequest(execution.id, request)
        async for execution in _list(client, " AND ".join(clauses), limit)
        for request in await _readable(execution)
        if (approver is None or named(approver, request.approvers or ())) and tool in (None, request.tool)
    ]
    return ordered(found, order_by)


async def attention(client: Client, *, limit: int | None) -> AsyncGenerator[Trouble]:
    """See `Handfast.attention`."""
    # Every run that goes on is described: the server's own mark (`TemporalReportedProblems`) came after 30 s, at the
    # fourth attempt (server 1.32), and ten were wanted.
    polled = Polled(client)
    batch: list[WorkflowExecution] = []
    async for execution in _list(client, f"{of_agents()} AND ExecutionStatus = 'Running'", limit):
        batch.append(execution)
        if len(batch) == AT_A_TIME:
            for trouble in await _troubles(client, batch, polled):
                yield trouble
            batch = []
    for trouble in await _troubles(client, batch, polled):
        yield trouble


def _in_phase(status: RunPhase) -> str:
    """Write the clause of a visibility query that finds the runs of one phase."""
    ended = [execution for execution, phase in PHASE_AT_END.items() if phase == status]
    if not ended:
        return f"ExecutionStatus = 'Running' AND {STATUS.name} = {quoted([status])}"
    return f"ExecutionStatus IN ({quoted([each.name.title().replace('_', '') for each in ended])})"


async def _list(client: Client, query: str, limit: int | None) -> AsyncIterator[WorkflowExecution]:
    with typed_errors(client):
        try:
            async for execution in client.list_workflows(query, limit=limit):
                yield execution
        except RPCError as error:
            if about_attributes(error):
                raise SearchAttributesMissingError(client.namespace) from error
            raise


async def _readable(execution: WorkflowExecution) -> list[Request]:
    """Read the open requests of a listed run; one that cannot be read must not hide those of the others."""
    try:
        return requests_in_memo(dict(await execution.memo()))
    except HistoryUnreadableError as error:
        logger.warning("the requests of %s are left out: %s", execution.id, error)
        return []


def _info(execution: WorkflowExecution) -> RunInfo:
    attributes = execution.typed_search_attributes
    ended = PHASE_AT_END.get(execution.status) if execution.status else None
    shown = attributes.get(STATUS)
    live: RunPhase = "waiting" if shown == "waiting" else "idle" if shown == "idle" else "running"
    return RunInfo(
        id=execution.id,
        run_id=execution.run_id,
        workflow=execution.workflow_type,
        agent=attributes.get(AGENT),
        status=ended or live,
        pending=0 if ended else attributes.get(PENDING) or 0,
        labels=tuple(attributes.get(LABELS) or ()),
        started_at=execution.start_time,
        ended_at=execution.close_time,
        due=attributes.get(DUE),
    )


async def _troubles(client: Client, batch: list[WorkflowExecution], polled: Polled) -> list[Trouble]:
    async def look(execution: WorkflowExecution) -> Trouble | None:
        try:
            described = await client.get_workflow_handle(execution.id).describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return None  # it ended and is gone
        return await trouble_of(client, described, polled)

    with typed_errors(client):
        found = await asyncio.gather(*map(look, batch))
    return [trouble for trouble in found if trouble is not None]
