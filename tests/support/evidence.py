"""Raw messages, as any program could send them, and what a run's history shows of their consequences."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from typing import Final

from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import (
    EventType,
    TimeoutType,
    UpdateWorkflowExecutionLifecycleStage,
    WorkflowTaskFailedCause,
)
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.update.v1 import Input, Meta, Outcome, Request as UpdateRequest, WaitPolicy
from temporalio.api.workflowservice.v1 import (
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
    UpdateWorkflowExecutionRequest,
)

from handfast import Run
from handfast.client.execution import Execution
from handfast.history.reader import history_of, ledger_changes
from handfast.payloads.requests import Transition
from handfast.testing import Lab

WAIT_S: Final = 30.0
BY_THE_SERVER: Final = frozenset(
    {
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,  # something came in while the run ended
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,  # 100 events came in during one task
    }
)
"""Causes for which the server itself ends a task and makes the next one; no code failed."""


def raw(data: bytes, encoding: bytes | None = b"json/plain") -> Payload:
    """A payload as it travels, well-formed or not."""
    return Payload(metadata={} if encoding is None else {"encoding": encoding}, data=data)


def plain(value: object) -> Payload:
    """A payload of plain JSON; NaN and lone surrogates pass."""
    return raw(json.dumps(value).encode())


UNREADABLE: Final[dict[str, Payload]] = {
    "broken JSON": raw(b'{"id": '),
    "no bytes": raw(b""),
    "bad UTF-8": raw(b'{"id": "\xff\xfe"}'),
    "unknown encoding": raw(b"x", b"binary/alien"),
    "no encoding": raw(b"x", None),
    "encoding that is no text": raw(b"x", b"\xff\xfe"),
    "protobuf without a type": raw(b"{}", b"json/protobuf"),
    "protobuf of an unknown type": Payload(
        metadata={"encoding": b"json/protobuf", "messageType": b"no.such.Message"}, data=b"{}"
    ),
    "digits without end": raw(b"9" * 5000),
    "depth 20,000": raw(b"[" * 20_000 + b"]" * 20_000),
}
"""Payloads that do not decode."""

MISSHAPEN: Final[dict[str, Payload]] = {
    "null": raw(b"", b"binary/null"),
    "bytes": raw(b"\x00\x01", b"binary/plain"),
    "number": plain(5),
    "2^70": plain({"id": 2**70}),
    "bool": plain(True),
    "list": plain(["x"]),
    "empty object": plain({}),
    "id is a number": plain({"id": 5}),
    "id is empty": plain({"id": ""}),
    "lone surrogate": raw(b'{"id": "\\ud800", "decided_by": "lead"}'),
    "lone surrogate as a key": raw(b'{"id": "x", "\\udfff": 1}'),
    "NaN": raw(b'{"id": "x", "remember": NaN}'),
    "infinity": raw(b'{"id": "x", "remember": 1e999}'),
    "depth 500": raw(b'{"id": ' + b"[" * 500 + b"]" * 500 + b"}"),
}
"""Payloads that decode, to something that no handler takes."""


async def send_signal(lab: Lab, run: Run, name: str, args: Sequence[Payload]) -> None:
    """Signal a run with raw arguments."""
    await lab.client.workflow_service.signal_workflow_execution(
        SignalWorkflowExecutionRequest(
            namespace=lab.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=run.id),
            signal_name=name,
            input=Payloads(payloads=args),
            identity="stranger",
            request_id=uuid.uuid4().hex,
        )
    )


async def send_update(lab: Lab, run: Run, name: str, args: Sequence[Payload]) -> Outcome:
    """Update a run with raw arguments; return what it answered."""
    response = await lab.client.workflow_service.update_workflow_execution(
        UpdateWorkflowExecutionRequest(
            namespace=lab.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=run.id),
            wait_policy=WaitPolicy(
                lifecycle_stage=UpdateWorkflowExecutionLifecycleStage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED
            ),
            request=UpdateRequest(
                meta=Meta(update_id=uuid.uuid4().hex, identity="stranger"),
                input=Input(name=name, args=Payloads(payloads=args)),
            ),
        )
    )
    return response.outcome


async def start_raw(lab: Lab, args: Sequence[Payload]) -> Run:
    """Start an `AgentRun` with raw arguments."""
    workflow_id = f"raw-{uuid.uuid4().hex}"
    await lab.client.workflow_service.start_workflow_execution(
        StartWorkflowExecutionRequest(
            namespace=lab.client.namespace,
            workflow_id=workflow_id,
            workflow_type=WorkflowType(name="AgentRun"),
            task_queue=TaskQueue(name=lab.task_queue),
            input=Payloads(payloads=args),
            identity="stranger",
            request_id=uuid.uuid4().hex,
        )
    )
    return lab.watch(lab.hf.run(workflow_id))


async def events_of(lab: Lab, run: Execution) -> list[HistoryEvent]:
    """The run's history so far."""
    return list((await lab.client.get_workflow_handle(run.id).fetch_history()).events)


async def history_bytes(lab: Lab, run: Execution) -> int:
    """How large the history of a run is."""
    return sum(event.ByteSize() for event in await events_of(lab, run))


async def failed_tasks(lab: Lab, run: Run) -> int:
    """How many workflow tasks of the run failed, or got stuck on a worker."""
    return sum(_is_failed(event) for event in await events_of(lab, run))


def _is_failed(event: HistoryEvent) -> bool:
    failed, timed_out = event.workflow_task_failed_event_attributes, event.workflow_task_timed_out_event_attributes
    match event.event_type:
        case EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            return failed.cause not in BY_THE_SERVER
        case EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
            return timed_out.timeout_type == TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE
    return False


async def logged(lab: Lab, run: Execution, what: str, count: int) -> list[Transition]:
    """Wait until *count* transitions of one kind stand in the run's history; return all of that kind."""
    found: list[Transition] = []
    async with asyncio.timeout(WAIT_S):
        async for event in history_of(lab.client.get_workflow_handle(run.id), wait=True):
            steps = (await ledger_changes(event, lab.client.data_converter))[2]
            found += [step for step in steps if step.what == what]
            if len(found) >= count:
                return found
    raise AssertionError(f"{run.id} ended with {len(found)} of {count} transitions {what!r}")
