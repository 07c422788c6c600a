"""`Holdfast`: start runs, find them, and decide what they ask."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
)
from temporalio.converter import WorkflowSerializationContext
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from holdfast._rpc import typed_errors
from holdfast.connection import connect
from holdfast.converter import tolerant
from holdfast.errors import PayloadInvalidError, RunExistsError, SearchAttributesMissingError
from holdfast.events import requests_in_memo
from holdfast.handle import Run
from holdfast.payloads.json_profile import JsonObject
from holdfast.payloads.people import is_group, named
from holdfast.payloads.requests import Request
from holdfast.payloads.runs import RunInput, RunPhase, context_to_wire, published_labels
from holdfast.payloads.search_attributes import AGENT, APPROVERS, DUE, LABELS, PENDING, STATUS
from holdfast.reach import OWN_WORKFLOWS

logger = logging.getLogger(__name__)

DEFAULT_TASK_QUEUE: Final = "agents"
SUMMARY_BYTES: Final = 240
START_BYTES: Final = 1_900_000
"""Most that a start may have, as it is sent: the server takes 2 MiB in one payload."""
ENCODING_ROOM: Final = 900_000
"""What a codec may add in all: only a start that could reach the limit with it is encoded twice."""

_STATUS: Final = SearchAttributeKey.for_keyword(STATUS)
_AGENT: Final = SearchAttributeKey.for_keyword(AGENT)
_PENDING: Final = SearchAttributeKey.for_int(PENDING)
_LABELS: Final = SearchAttributeKey.for_keyword_list(LABELS)
_DUE: Final = SearchAttributeKey.for_datetime(DUE)

_BY_EXECUTION: Final[dict[str, str]] = {
    "completed": "Completed",
    "failed": "Failed",
    "cancelled": "Canceled",
}


class _Unset:
    """Tells "not given" from None."""


UNSET: Final = _Unset()


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


class Holdfast:
    """The client's side: everything here works from any process, and most of it without a worker."""

    def __init__(self, client: Client, *, task_queue: str | None = None) -> None:
        """Use an existing client.

        Args:
            client: Connected; its converter and codec are used as they are.
            task_queue: Where runs are started: ``HOLDFAST_TASK_QUEUE``, else ``agents``.
        """
        self.client = client
        self.task_queue = task_queue or os.environ.get("HOLDFAST_TASK_QUEUE") or DEFAULT_TASK_QUEUE
        self._warned = False

    @classmethod
    async def connect(
        cls,
        address: str | None = None,
        *,
        profile: str | None = None,
        namespace: str | None = None,
        task_queue: str | None = None,
    ) -> Holdfast:
        """Connect as the environment says: ``TEMPORAL_ADDRESS``, a profile, mTLS, an API key, or the embedded server.

        Raises:
            ServerUnavailableError: Nobody answers there.
        """
        client = await connect(address, profile=profile, namespace=namespace, data_converter=tolerant(None))
        return cls(client, task_queue=task_queue)

    # --- starting ---

    async def start(
        self,
        agent: str,
        input: str | list[JsonObject],
        *,
        id: str | None = None,
        context: JsonObject | BaseModel | None = None,
        max_turns: int | _Unset | None = UNSET,
        labels: Mapping[str, str] | None = None,
        requested_by: str | None = None,
        if_exists: Literal["fail", "attach"] = "fail",
    ) -> Run:
        """Start a run.

        Args:
            agent: Its name; an unknown one fails the run at once.
            input: A text, or items as the Responses API takes them.
            id: The workflow id; random by default. At most one run of an id goes on at a time.
            context: The run's own data, as the agent's `context_type` reads it: a JSON object or a pydantic model. It
                is recorded, so no secrets.
            max_turns: Most model replies; None lifts the agent's own limit.
            labels: Up to 20, to find the run by.
            requested_by: Who asked: a claimed name, recorded.
            if_exists: What to do when a run of this id goes on.

        Raises:
            PayloadInvalidError: The input is none, or above 1.9 MB, or the context is no JSON; nothing was started.
            RunExistsError: It goes on already, and *if_exists* is "fail".
            ServerUnavailableError: The server is away. NamespaceNotFoundError: It lacks the client's namespace.
        """
        given: dict[str, Any] = {
            "agent": agent,
            "input": input,
            "context": context_to_wire(context),
            "labels": dict(labels or {}),
            "requested_by": requested_by,
        }
        if not isinstance(max_turns, _Unset):
            given["max_turns"] = max_turns
        checked = RunInput.from_wire(given)
        wire = {**checked.to_wire(), **({"max_turns": max_turns} if "max_turns" in given else {})}
        workflow_id = id or f"{agent}-{uuid.uuid4().hex[:12]}"
        await self._check_size(wire, workflow_id)
        with typed_errors(self.client):
            run_id = await self._start(checked, wire, workflow_id, if_exists)
        return Run(self.client, workflow_id, run_id)

    def run(self, id: str) -> Run:
        """Name a run that exists, the newest one of that id."""
        return Run(self.client, id)

    # --- lists across runs, from visibility: no worker is asked ---

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
        clauses = [f"(WorkflowType IN ({_quoted(sorted(OWN_WORKFLOWS))}) OR {STATUS} IS NOT NULL)"]
        ended = _BY_EXECUTION.get(status) if status is not None else None
        if ended is not None:
            clauses.append(f"ExecutionStatus = '{ended}'")
        elif status is not None:
            clauses.append(f"ExecutionStatus = 'Running' AND {STATUS} = {_quoted([status])}")
        if agent is not None:
            clauses.append(f"{AGENT} = {_quoted([agent])}")
        if label is not None:
            clauses.append(f"{LABELS} = {_quoted([label])}")
        return [_info(execution) async for execution in self._list(" AND ".join(clauses), limit)]

    async def requests(
        self, *, agent: str | None = None, approver: str | None = None, limit: int = 1000
    ) -> list[OpenRequest]:
        """Everything that waits for a person, across runs, oldest first. The inbox needs no worker.

        Args:
            agent: Only requests of runs of this agent.
            approver: Only those that name this approver: a person, or a group as ``group:finance``. What anybody may
                decide names nobody.
            limit: Most runs that are read.

        Raises:
            SearchAttributesMissingError: The namespace lacks our search attributes.
            ServerUnavailableError: The server is away. NamespaceNotFoundError: It lacks the client's namespace.
        """
        clauses = [f"{PENDING} > 0 AND ExecutionStatus = 'Running'"]
        if agent is not None:
            clauses.append(f"{AGENT} = {_quoted([agent])}")
        if approver is not None and is_group(approver):
            clauses.append(f"{APPROVERS} = {_quoted([approver])}")  # people are in the requests alone
        found = [
            OpenRequest(execution.id, request)
            async for execution in self._list(" AND ".join(clauses), limit)
            for request in requests_in_memo(dict(await execution.memo()))
            if approver is None or named(approver, request.approvers or ())
        ]
        return sorted(found, key=lambda item: item.request.order)

    # --- inside ---

    async def _start(
        self, given: RunInput, wire: JsonObject, workflow_id: str, if_exists: Literal["fail", "attach"]
    ) -> str | None:
        attributes: TypedSearchAttributes | None = self._attributes(given)
        while True:
            try:
                handle = await self.client.start_workflow(
                    "AgentRun",
                    wire,
                    id=workflow_id,
                    task_queue=self.task_queue,
                    id_conflict_policy=(
                        WorkflowIDConflictPolicy.USE_EXISTING
                        if if_exists == "attach"
                        else WorkflowIDConflictPolicy.FAIL
                    ),
                    search_attributes=attributes,
                    static_summary=_summary(given),
                )
            except WorkflowAlreadyStartedError:
                raise RunExistsError(workflow_id) from None
            except RPCError as error:
                if attributes is None or not _about_attributes(error):
                    raise
                attributes = None
                self._warn()
                continue
            return handle.result_run_id

    async def _check_size(self, wire: JsonObject, workflow_id: str) -> None:
        """Refuse here what the server would refuse, and say what to do."""
        converter = self.client.data_converter.with_context(
            WorkflowSerializationContext(namespace=self.client.namespace, workflow_id=workflow_id)
        )
        if converter.external_storage is not None:
            return  # the payload itself does not go to the server
        payloads: Sequence[Payload] = converter.payload_converter.to_payloads([wire])
        codec = converter.payload_codec
        if codec is not None and sum(each.ByteSize() for each in payloads) > START_BYTES - ENCODING_ROOM:
            payloads = await codec.encode(payloads)
        size = sum(each.ByteSize() for each in payloads)
        if size > START_BYTES:
            raise PayloadInvalidError(
                "start", [f"{size:,} bytes encoded, {START_BYTES:,} at most; give a reference and a tool that reads it"]
            )

    async def _list(self, query: str, limit: int) -> AsyncIterator[WorkflowExecution]:
        with typed_errors(self.client):
            try:
                async for execution in self.client.list_workflows(query, limit=limit):
                    yield execution
            except RPCError as error:
                if _about_attributes(error):
                    raise SearchAttributesMissingError(self.client.namespace) from error
                raise

    def _attributes(self, given: RunInput) -> TypedSearchAttributes:
        pairs: list[SearchAttributePair[Any]] = [
            SearchAttributePair(_STATUS, "running"),
            SearchAttributePair(_AGENT, given.agent),
            SearchAttributePair(_PENDING, 0),
        ]
        if given.labels:
            pairs.append(SearchAttributePair(_LABELS, published_labels(given.labels)))
        return TypedSearchAttributes(pairs)

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("%s", SearchAttributesMissingError(self.client.namespace))


def _about_attributes(error: RPCError) -> bool:
    text = error.message.lower()
    return error.status is RPCStatusCode.INVALID_ARGUMENT and ("search attribute" in text or "column name" in text)


def _quoted(values: Sequence[str]) -> str:
    return ", ".join("'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'" for value in values)


def _summary(given: RunInput) -> str:
    """One line for Temporal's own page, which takes 400 bytes."""
    text = given.input if isinstance(given.input, str) else f"{len(given.input)} items"
    line = f"{given.agent}: {' '.join(text.split())}".encode("utf-8", "replace")
    return line.decode() if len(line) <= SUMMARY_BYTES else line[:SUMMARY_BYTES].decode(errors="ignore") + "…"


def _info(execution: WorkflowExecution) -> RunInfo:
    attributes = execution.typed_search_attributes
    ended: dict[WorkflowExecutionStatus | None, RunPhase] = {
        WorkflowExecutionStatus.COMPLETED: "completed",
        WorkflowExecutionStatus.CANCELED: "cancelled",
        WorkflowExecutionStatus.FAILED: "failed",
        WorkflowExecutionStatus.TERMINATED: "failed",
        WorkflowExecutionStatus.TIMED_OUT: "failed",
    }
    shown = attributes.get(_STATUS)
    live: RunPhase = "waiting" if shown == "waiting" else "idle" if shown == "idle" else "running"
    return RunInfo(
        id=execution.id,
        run_id=execution.run_id,
        workflow=execution.workflow_type,
        agent=attributes.get(_AGENT),
        status=ended.get(execution.status, live),
        pending=0 if execution.status in ended else attributes.get(_PENDING) or 0,
        labels=tuple(attributes.get(_LABELS) or ()),
        started_at=execution.start_time,
        ended_at=execution.close_time,
        due=attributes.get(_DUE),
    )
