"""Fault rows XL1 and XL3, beside what histories hold: streams of deltas, heartbeats and headers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any, Final

import pytest
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest
from temporalio.client import Client, Interceptor as ClientInterceptor, OutboundInterceptor, StartWorkflowInput
from temporalio.converter import PayloadConverter
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    HandleSignalInput,
    Interceptor,
    StartActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from handfast import Agent, Handfast, Run, ToolContext, tool
from handfast.deltas.stream import delta_stream
from handfast.encryption.converter import ENCRYPTED, of_workflow
from handfast.errors import HistoryUnreadableError
from handfast.payloads.deltas import Delta
from handfast.server import EmbeddedServer
from handfast.testing import Lab, Reply, call, reasoning, text
from support.clear import clear, client_with, ring
from support.evidence import events_of, failed_tasks, logged, raw
from support.labs import Effects, MakeLab
from support.progress import told
from support.redis_server import RedisServer

SENTINEL: Final = "s3ntin3l-q7x"
DONE: Final = Reply(text("done"))
NAME: Final = "trace"
PLAIN: Final = PayloadConverter.default


async def chain(lab: Lab, run: Run) -> str:
    """The name of a run in a stream: the run id of its first history."""
    described = await lab.client.get_workflow_handle(run.id).describe()
    return described.raw_description.workflow_execution_info.first_run_id


async def streamed(run: Run) -> str:
    """What a reader of a run that has ended is told on the way, put together."""
    async with asyncio.timeout(30):
        return "".join([item.text async for item in run.stream() if isinstance(item, Delta)])


async def test_a_stream_has_nothing_that_can_be_read_without_the_key(
    make_lab: MakeLab, server: EmbeddedServer, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """XL1: text, reasoning, arguments and a tool's progress stand encrypted in Redis, and in heartbeats; whoever has
    the key reads all of it, whoever has another one nothing. What somebody else writes there, or moves there from
    another run, is left out."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    @tool
    async def look(ctx: ToolContext, at: str) -> str:
        """Look at something."""
        ctx.progress(f"looking at {at}, {SENTINEL}-progress")
        begun.set()
        await go_on.wait()
        return "fine"

    said = [f"{SENTINEL}-{what}" for what in ("reasoning", "args", "progress", "text")]
    script = [
        Reply(reasoning(said[0]), call("look", {"at": said[1]}, "c1")),
        Reply(text(said[3])),
        Reply(text(said[3])),
    ]
    client = await client_with(server, ring("k1"))
    agents = [Agent("desk", model="m", tools=[look]), Agent("other", model="m")]
    lab = await make_lab(agents, script=script, client=client, deltas=redis.url)
    run = await lab.start("desk", stream=True)
    await asyncio.wait_for(begun.wait(), 30)
    await told(run, "looking at")
    described = await lab.client.get_workflow_handle(run.id).describe()
    assert SENTINEL not in str(described.raw_description)
    go_on.set()
    await run.result()
    other = await lab.start("other", stream=True)
    await other.result()

    kept = delta_stream(redis.url)
    entries = [entry for _, entry in await kept.read(await chain(lab, run), None, 0)]
    assert entries
    assert not [entry for entry in entries if SENTINEL.encode() in entry]
    assert {Payload.FromString(entry).metadata["encoding"] for entry in entries} == {ENCRYPTED}
    read = await streamed(run)
    assert [word for word in said if word not in read] == []

    [foreign] = await of_workflow(await client_with(server, None), other.id).encode([[{"type": "delta", "text": "x"}]])
    await kept.publish(await chain(lab, other), foreign.SerializeToString())
    for entry in entries:
        await kept.publish(await chain(lab, other), entry)
    assert await streamed(other) == said[3]
    assert "some deltas of" in caplog.text
    assert SENTINEL not in caplog.text
    await kept.close()
    stranger = Handfast(await client_with(server, ring("k2")), deltas=redis.url)
    with pytest.raises(HistoryUnreadableError, match="k1"):
        await streamed(stranger.run(run.id))


heard: list[tuple[str, Any]] = []
"""What interceptors of a user's own have read from headers."""


def hear(where: str, headers: Mapping[str, Payload]) -> None:
    """Read a header as tracing does: with the default converter, whatever that says."""
    if NAME in headers:
        heard.append((where, PLAIN.from_payloads([headers[NAME]])[0]))


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        hear("workflow", input.headers)
        hear("workflow info", workflow.info().headers)
        return await super().execute_workflow(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:
        hear(f"signal {input.signal}", input.headers)
        await super().handle_signal(input)


class _Outbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        passed = {NAME: PLAIN.to_payload(f"{SENTINEL}-from-the-workflow")}
        input.headers = {**input.headers, **passed}
        return super().start_activity(input)


class _InActivity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        hear(activity.info().activity_type, input.headers)
        return await super().execute_activity(input)


class _FromClient(OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> Any:
        input.headers = {**input.headers, NAME: PLAIN.to_payload(f"{SENTINEL}-from-the-client")}
        return await super().start_workflow(input)


class Tracing(ClientInterceptor, Interceptor):
    """Hands a word from the client to the workflow and on to activities, as tracing does."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """Of the client."""
        return _FromClient(next)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Of activities."""
        return _InActivity(next)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        """Of workflows."""
        return _Inbound


async def test_headers_are_encrypted_and_read_where_they_go(
    make_lab: MakeLab, server: EmbeddedServer, effects: Effects
) -> None:
    """XL3: headers of a user's own tracing, from client to workflow to activities, are encrypted on the way and read
    at their ends. A header that cannot be read, sent by somebody without the key, is none, and stops nothing."""
    heard.clear()

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    config = (await client_with(server, ring("k1"))).config(active_config=True)
    config["interceptors"] = [Tracing()]
    lab = await make_lab(
        [Agent("desk", model="m", tools=[wipe])],
        script=[Reply(call("wipe", {"target": "t"})), DONE],
        client=Client(**config),
    )
    run = await lab.start("desk")
    request = await lab.next_request(run)
    signal = SignalWorkflowExecutionRequest(
        namespace=lab.client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=run.id),
        signal_name="approve",
        input=Payloads(payloads=[raw(b'"x"')]),
        request_id=uuid.uuid4().hex,
    )
    signal.header.fields[NAME].CopyFrom(PLAIN.to_payload("from a stranger"))
    await lab.client.workflow_service.signal_workflow_execution(signal)
    await logged(lab, run, "refused", 1)
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert effects == ["t"]
    assert await failed_tasks(lab, run) == 0
    started, tracing = f"{SENTINEL}-from-the-client", f"{SENTINEL}-from-the-workflow"
    assert {
        ("workflow", started),
        ("workflow info", started),
        ("handfast.call_model", tracing),
        ("handfast.tool.wipe", tracing),
        ("signal approve", None),
    } == set(heard)
    events = await events_of(lab, run)
    assert [each for each in clear(events) if "from a stranger" not in each and "b'\"x\"'" not in each] == []
    assert SENTINEL not in str(events)
    assert events[0].workflow_execution_started_event_attributes.header.fields[NAME].metadata["encoding"] == ENCRYPTED
