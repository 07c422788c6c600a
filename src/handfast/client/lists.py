"""Lists across runs, from visibility: no worker is asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from handfast.client.trouble import Polled, Trouble, trouble_of
from handfast.errors import HistoryUnreadableError, SearchAttributesMissingError
from handfast.history.reader import requests_in_memo
from handfast.payloads.people import is_group, named
from handfast.payloads.requests import Request
from handfast.payloads.runs import OWN_WORKFLOWS, RunPhase
from handfast.payloads.search_attributes import AGENT, APPROVERS, LABELS, PENDING, STATUS
from handfast.temporal.rpc import typed_errors
from handfast.temporal.visibility import (
    AGENT_KEY,
    DUE_KEY,
    LABELS_KEY,
    PENDING_KEY,
    STATUS_KEY,
    about_attributes,
    quoted,
)

logger = logging.getLogger(__name__)

_BY_EXECUTION: Final[dict[str, str]] = {
    "completed": "Completed",
    "failed": "Failed",
    "cancelled": "Canceled",
}


_NEVER: Final = datetime.max.replace(tzinfo=UTC)


AT_A_TIME: Final = 20
"""Runs that the server is asked about at a time."""


@dataclass(frozen=True)
class RunInfo:
    """One line of a list across runs.

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
    """The clause of a visibility query that finds runs of agents, those in users' own workflows too."""
    return f"(WorkflowType IN ({quoted(sorted(OWN_WORKFLOWS))}) OR {STATUS} IS NOT NULL)"


def ordered(found: list[OpenRequest], by: Literal["age", "due"]) -> list[OpenRequest]:
    """Oldest first; or the nearest deadline first, those without one last."""
    aged = sorted(found, key=lambda item: item.request.order)
    return aged if by == "age" else sorted(aged, key=lambda item: item.request.deadline or _NEVER)


class Lists:
    """What can be listed without a worker."""

    client: Client

    async def runs(
        self,
        *,
        status: RunPhase | None = None,
        agent: str | None = None,
        label: str | None = None,
        limit: int = 100,
    ) -> list[RunInfo]:
        """List runs: those that go on first, then those that ended, the newest of each first.

        Args:
            status: Only those that stand there.
            agent: Only those of this agent.
            label: Only those with this label, ``key=value``.
            limit: Most lines.

        Raises:
            SearchAttributesMissingError: The namespace lacks our search attributes.
            ServerUnavailableError: The server is away. NamespaceNotFoundError: It lacks the client's namespace.
        """
        clauses = [of_agents()]
        ended = _BY_EXECUTION.get(status) if status is not None else None
        if ended is not None:
            clauses.append(f"ExecutionStatus = '{ended}'")
        elif status is not None:
            clauses.append(f"ExecutionStatus = 'Running' AND {STATUS} = {quoted([status])}")
        if agent is not None:
            clauses.append(f"{AGENT} = {quoted([agent])}")
        if label is not None:
            clauses.append(f"{LABELS} = {quoted([label])}")
        return [_info(execution) async for execution in self._list(" AND ".join(clauses), limit)]

    async def requests(
        self,
        *,
        agent: str | None = None,
        approver: str | None = None,
        labels: Mapping[str, str] | None = None,
        tool: str | None = None,
        order_by: Literal["age", "due"] = "age",
        limit: int = 1000,
    ) -> list[OpenRequest]:
        """Everything that waits for a person, across runs. The inbox needs no worker.

        Args:
            agent: Only requests of runs of this agent.
            approver: Only those that name this approver: a person, or a group as ``group:finance``. What anybody may
                decide names nobody.
            labels: Only those of runs that have all these labels.
            tool: Only those about a call of this tool.
            order_by: *age*: oldest first. *due*: the nearest deadline first, those without one last.
            limit: Most runs that are read.

        Raises:
            SearchAttributesMissingError: The namespace lacks our search attributes.
            ServerUnavailableError: The server is away. NamespaceNotFoundError: It lacks the client's namespace.
        """
        clauses = [f"{PENDING} > 0 AND ExecutionStatus = 'Running'"]
        if agent is not None:
            clauses.append(f"{AGENT} = {quoted([agent])}")
        if approver is not None and is_group(approver):
            clauses.append(f"{APPROVERS} = {quoted([approver])}")  # people are in the requests alone
        clauses += [f"{LABELS} = {quoted([f'{key}={value}'])}" for key, value in (labels or {}).items()]
        found = [
            OpenRequest(execution.id, request)
            async for execution in self._list(" AND ".join(clauses), limit)
            for request in await _readable(execution)
            if (approver is None or named(approver, request.approvers or ())) and tool in (None, request.tool)
        ]
        return ordered(found, order_by)

    # --- inside ---

    async def _list(self, query: str, limit: int | None) -> AsyncIterator[WorkflowExecution]:
        with typed_errors(self.client):
            try:
                async for execution in self.client.list_workflows(query, limit=limit):
                    yield execution
            except RPCError as error:
                if about_attributes(error):
                    raise SearchAttributesMissingError(self.client.namespace) from error
                raise


async def _readable(execution: WorkflowExecution) -> list[Request]:
    """The open requests of a listed run. One that cannot be read must not hide those of the others."""
    try:
        return requests_in_memo(dict(await execution.memo()))
    except HistoryUnreadableError as error:
        logger.warning("the requests of %s are left out: %s", execution.id, error)
        return []


def _info(execution: WorkflowExecution) -> RunInfo:
    attributes = execution.typed_search_attributes
    ended: dict[WorkflowExecutionStatus | None, RunPhase] = {
        WorkflowExecutionStatus.COMPLETED: "completed",
        WorkflowExecutionStatus.CANCELED: "cancelled",
        WorkflowExecutionStatus.FAILED: "failed",
        WorkflowExecutionStatus.TERMINATED: "failed",
        WorkflowExecutionStatus.TIMED_OUT: "failed",
    }
    shown = attributes.get(STATUS_KEY)
    live: RunPhase = "waiting" if shown == "waiting" else "idle" if shown == "idle" else "running"
    return RunInfo(
        id=execution.id,
        run_id=execution.run_id,
        workflow=execution.workflow_type,
        agent=attributes.get(AGENT_KEY),
        status=ended.get(execution.status, live),
        pending=0 if execution.status in ended else attributes.get(PENDING_KEY) or 0,
        labels=tuple(attributes.get(LABELS_KEY) or ()),
        started_at=execution.start_time,
        ended_at=execution.close_time,
        due=attributes.get(DUE_KEY),
    )


class Attention(Lists):
    """What an operator should look at."""

    async def attention(self, *, limit: int | None = None) -> AsyncIterator[Trouble]:
        """Yield the runs that do not get on by themselves, each with what to do about it.

        The server is asked about each run that goes on, twenty at a time: its own mark for failing workflow tasks
        (``TemporalReportedProblems``) comes only after several attempts, half a minute in.

        Args:
            limit: Most runs that are asked about, the newest ones; None is all that go on.

        Raises:
            SearchAttributesMissingError: The namespace lacks our search attributes.
            ServerUnavailableError: The server is away. NamespaceNotFoundError: It lacks the client's namespace.
        """
        polled = Polled(self.client)
        batch: list[WorkflowExecution] = []
        async for execution in self._list(f"{of_agents()} AND ExecutionStatus = 'Running'", limit):
            batch.append(execution)
            if len(batch) == AT_A_TIME:
                for trouble in await self._look(batch, polled):
                    yield trouble
                batch = []
        for trouble in await self._look(batch, polled):
            yield trouble

    # --- inside ---

    async def _look(self, batch: list[WorkflowExecution], polled: Polled) -> list[Trouble]:
        async def look(execution: WorkflowExecution) -> Trouble | None:
            described = await self._described(execution.id)
            return None if described is None else await trouble_of(self.client, described, polled)

        with typed_errors(self.client):
            found = await asyncio.gather(*map(look, batch))
        return [trouble for trouble in found if trouble is not None]

    async def _described(self, run: str) -> WorkflowExecutionDescription | None:
        try:
            return await self.client.get_workflow_handle(run).describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return None  # it ended and is gone
