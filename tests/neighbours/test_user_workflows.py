"""Scenario row P14: Handfast beside a user's own workflows, activities, converter and codec."""

from __future__ import annotations

import asyncio
import gc
import uuid
from datetime import timedelta
from typing import Any

import openai
import pytest
from pydantic import BaseModel
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, PayloadConverter
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerConfig
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from handfast import Agent, AgentHost, Handfast, HandfastPlugin, tool
from handfast.encryption.converter import tolerant
from handfast.errors import ConverterIncompatibleError, RunFailedError
from handfast.server import EmbeddedServer
from handfast.testing import Reply, ResponsesServer, call, text
from support.evidence import events_of, failed_tasks, logged, plain, raw, send_signal
from support.labs import Effects, MakeLab
from support.neighbour import (
    CONVERTER,
    Careless,
    Collector,
    Curious,
    Order,
    Shipment,
    Shipping,
    TooLate,
    notify,
    start_own,
)

SCRIPT = [Reply(call("wipe", {"target": "temp"}, "c1")), Reply(text("done"))]


def desk(effects: Effects) -> Agent:
    """An agent with one gated tool."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    return Agent("desk", instructions="Help.", model="m", tools=[wipe])


@pytest.mark.quick
async def test_a_host_in_a_users_workflow_collides_with_nothing(
    make_lab: MakeLab, server: EmbeddedServer, effects: Effects, cache: int
) -> None:
    """P14: the user's own approve, status, notify, converter and codec work as ever; requests are decided as usual."""
    client = await Client.connect(server.address, data_converter=CONVERTER)
    lab = await make_lab(
        [desk(effects)],
        script=SCRIPT,
        client=client,
        workflows=[Shipping],
        activities=[notify],
        max_cached_workflows=cache,
    )
    order = Order(number=7, text="ship it")
    own = await start_own(lab, Shipping.run, order)
    run = lab.hf.run(own.id)
    request = await lab.next_request(run)
    assert (request.tool, request.arguments, effects) == ("wipe", {"target": "temp"}, [])
    await own.signal(Shipping.approve, "the user's own approver")
    assert await own.query(Shipping.status) == "approved by 1"
    assert ((await run.status()).status, (await run.status()).pending) == ("waiting", 1)
    for arguments in ([], [raw(b"{")], [plain(5)], [plain("no-such-request")] * 2):
        await send_signal(lab, run, "handfast.approve", arguments)
    assert len(await logged(lab, run, "refused", 4)) == 4
    assert effects == []
    await run.approve(request, decided_by="lead")
    assert await own.result() == Shipment(
        order=order, approved_by=["the user's own approver"], told="told about 7", answer="done"
    )
    assert effects == ["temp"]
    assert await failed_tasks(lab, run) == 0
    encodings = {
        payload.metadata["encoding"]
        for event in await events_of(lab, run)
        for payload in event.activity_task_scheduled_event_attributes.input.payloads
    }
    assert encodings == {b"binary/mirror"}


async def test_requests_of_a_host_are_listed_across_runs(
    make_lab: MakeLab, server: EmbeddedServer, effects: Effects
) -> None:
    """P14: the inbox across runs holds the requests of a user's workflow beside those of plain runs."""
    client = await Client.connect(server.address, data_converter=CONVERTER)
    lab = await make_lab(
        [desk(effects)], script=[SCRIPT[0]] * 2, client=client, workflows=[Shipping], activities=[notify]
    )
    own = await start_own(lab, Shipping.run, Order(number=8, text="ship it"))
    other = await lab.start("desk")
    expected = {(run.id, (await lab.next_request(run)).id) for run in (lab.hf.run(own.id), other)}
    async with asyncio.timeout(30):
        listed: set[tuple[str, str]] = set()
        while not expected <= listed:  # visibility has no event to wait for; each look is a round trip
            listed = {(found.run, found.request.id) for found in await lab.hf.requests(agent="desk")}
    waiting = {info.id: (info.workflow, info.labels) for info in await lab.hf.runs(status="waiting", agent="desk")}
    assert waiting[own.id] == ("Shipping", ("order=8",))
    assert waiting[other.id] == ("AgentRun", ())


async def test_a_host_made_too_late_is_a_typed_failure(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """P14: an AgentHost made in run() ends the workflow with `HostTooLate`, instead of losing messages now and then."""
    lab = await make_lab([desk(effects)], workflows=[TooLate], max_cached_workflows=cache)
    own = await start_own(lab, TooLate.run)
    with pytest.raises(WorkflowFailureError) as failed:
        await own.result()
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == "HostTooLate"
    assert "@workflow.init" in failed.value.cause.message
    assert await failed_tasks(lab, lab.hf.run(own.id)) == 0


async def test_a_bad_input_inside_a_users_workflow_is_a_typed_failure(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """P14: an input that no agent can take fails the user's workflow with `StartInvalid`; it never gets stuck."""
    lab = await make_lab([desk(effects)], workflows=[Careless], max_cached_workflows=cache)
    run = lab.hf.run((await start_own(lab, Careless.run, "")).id)
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert (failed.value.kind, "input is empty" in failed.value.message) == ("StartInvalid", True)
    assert await failed_tasks(lab, run) == 0


async def test_runs_of_a_worker_that_stopped_write_into_no_other_workflow(make_lab: MakeLab, effects: Effects) -> None:
    """P14: runs that a stopped worker had in its cache leave no trace in whatever this process runs next."""
    lab = await make_lab([desk(effects)], script=[SCRIPT[0]] * 3, workflows=[Collector])
    for _ in range(3):
        await lab.next_request(await lab.start("desk"))
    gc.disable()  # so that the next workflow is where it happens
    try:
        await lab.replace_worker()
        own = await start_own(lab, Collector.run)
        assert await own.result() > 0
    finally:
        gc.enable()
    kinds = [EventType.Name(event.event_type) for event in await events_of(lab, lab.hf.run(own.id))]
    assert [kind for kind in kinds if "UPSERT" in kind or "MODIFIED" in kind] == []
    assert len(kinds) == 5


@pytest.mark.parametrize("where", ["client", "worker"])
async def test_the_plugin_works_wherever_it_is_given(server: EmbeddedServer, effects: Effects, where: str) -> None:
    """P14: the plugin on the client alone, or on the worker alone, makes a worker of agents."""
    queue = f"p14-{uuid.uuid4().hex}"
    async with ResponsesServer(SCRIPT) as model, openai.AsyncOpenAI(base_url=model.base_url, api_key="k") as api:
        plugin = HandfastPlugin([desk(effects)], models={"default": api})
        client = await Client.connect(server.address, plugins=[plugin] if where == "client" else [])
        async with Worker(client, task_queue=queue, plugins=[plugin] if where == "worker" else []):
            run = await Handfast(client, task_queue=queue).start("desk", "go")
            async for request in run.requests():
                await run.approve(request, decided_by="lead")
            assert (await run.result()).output == "done"
    assert effects == ["temp"]


async def test_a_sandbox_shares_the_workers_handfast(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """P14: a sandboxed workflow of the user's has the worker's Handfast, which is imported once and not for each run;
    what is in the workflow's own module it has for itself, as in any sandbox."""
    lab = await make_lab([desk(effects)], workflows=[Curious], max_cached_workflows=cache)
    own = await start_own(lab, Curious.run, id(AgentHost), id(Order))
    assert await own.result() == [True, False]


async def test_the_plugin_leaves_the_workers_options_alone(server: EmbeddedServer, effects: Effects) -> None:
    """P14: workflows, activities and interceptors are added, and Handfast to what the sandbox passes through; every
    other option of the worker stays the user's, but for one that has no effect without an external storage."""
    client = await Client.connect(server.address, data_converter=CONVERTER)
    given: WorkerConfig = {
        "client": client,
        "task_queue": "own",
        "workflows": [Shipping],
        "activities": [notify],
        "workflow_failure_exception_types": [KeyError],
        "max_concurrent_activities": 3,
        "graceful_shutdown_timeout": timedelta(seconds=9),
        "workflow_runner": SandboxedWorkflowRunner(SandboxRestrictions.default.with_passthrough_modules("theirs")),
    }
    outside: WorkerConfig = {**given, "workflow_runner": UnsandboxedWorkflowRunner()}
    async with openai.AsyncOpenAI(api_key="k") as api:
        made = HandfastPlugin([desk(effects)], models={"default": api}).configure_worker(given.copy())
        unsandboxed = HandfastPlugin([desk(effects)], models={"default": api}).configure_worker(outside.copy())
    touched = {"client", "workflows", "activities", "interceptors", "workflow_runner"}
    assert made["max_workflow_task_external_storage_concurrency"] == 1
    touched.add("max_workflow_task_external_storage_concurrency")
    assert {name: value for name, value in made.items() if name not in touched} == {
        name: value for name, value in given.items() if name not in touched
    }
    names = [getattr(each, "__temporal_workflow_definition").name for each in made["workflows"]]
    assert names == ["Shipping", "AgentRun", "AgentSession", "handfast.archive"]
    assert made["activities"][0] is notify
    runner = made["workflow_runner"]
    assert isinstance(runner, SandboxedWorkflowRunner)
    assert runner.restrictions == SandboxRestrictions.default.with_passthrough_modules("theirs", "handfast")
    assert isinstance(unsandboxed["workflow_runner"], UnsandboxedWorkflowRunner)
    extended = made["client"].data_converter
    assert extended.payload_codec is CONVERTER.payload_codec
    assert issubclass(extended.payload_converter_class, CONVERTER.payload_converter_class)
    assert client.data_converter is CONVERTER


class TextsOnly(PayloadConverter):
    """A converter that carries nothing but text."""

    def to_payloads(self, values: Any) -> list[Payload]:
        """Encode texts."""
        return [Payload(data=value.encode()) for value in values]

    def from_payloads(self, payloads: Any, type_hints: list[type] | None = None) -> list[Any]:
        """Decode texts."""
        return [payload.data.decode() for payload in payloads]


async def test_an_incompatible_converter_is_one_line(server: EmbeddedServer) -> None:
    """P14: a converter that cannot carry plain JSON is refused when the client is made, in one line with the remedy."""
    with pytest.raises(ConverterIncompatibleError) as refused:
        await Client.connect(
            server.address,
            data_converter=DataConverter(payload_converter_class=TextsOnly),
            plugins=[HandfastPlugin()],
        )
    assert "\n" not in str(refused.value)
    assert "TextsOnly" in str(refused.value)
    assert "temporalio.contrib.pydantic" in str(refused.value)


class Point(BaseModel):
    """A model of the user's."""

    x: int


def test_the_users_converter_decodes_as_before() -> None:
    """P14: with the plugin's extension a typed payload is decoded, and refused, exactly as without it."""
    plain, extended = pydantic_data_converter.payload_converter, tolerant(pydantic_data_converter).payload_converter
    [payload] = plain.to_payloads([Point(x=1)])
    assert extended.from_payloads([payload], [Point]) == [Point(x=1)]
    assert extended.from_payloads([payload]) == plain.from_payloads([payload]) == [{"x": 1}]
    bad = Payload(metadata={"encoding": b"json/plain"}, data=b'{"x": "y"}')
    for converter in (plain, extended):
        with pytest.raises(ValueError, match="valid integer"):
            converter.from_payloads([bad], [Point])
