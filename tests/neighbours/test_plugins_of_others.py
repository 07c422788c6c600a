"""The plugin beside those that Temporal brings, in any order: OpenTelemetry, openai-agents, pydantic's converter."""

from __future__ import annotations

import asyncio
import base64
import re
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import permutations
from typing import Any

import openai
import pytest
from agents import OpenAIProvider
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from temporalio.client import Client, WorkflowHistory
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin, create_tracer_provider
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.openai_agents import ModelActivityParameters, OpenAIAgentsPlugin
from temporalio.worker import Replayer, Worker

from handfast import Handfast, HandfastPlugin
from handfast.encryption.keyring import Keyring
from handfast.server import EmbeddedServer
from handfast.testing import Reply, ResponsesServer, Script, call, text
from support.desk import desk
from support.labs import Effects
from support.neighbour_plugins import BothLibraries, Question

ORDERS = list(permutations(["handfast", "openai-agents", "otel"]))
KEYS = Keyring({"k1": b"1" * 32}, current="k1")


@pytest.fixture(scope="module", autouse=True)
def spans() -> Iterator[InMemorySpanExporter]:
    """What is traced in this process: there is one provider in each."""
    exporter = InMemorySpanExporter()
    trace.set_tracer_provider(provider := create_tracer_provider())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield exporter
    exporter.shutdown()


@asynccontextmanager
async def plugins_on(effects: Effects, **options: Any) -> AsyncIterator[dict[str, Any]]:
    """One plugin of each kind, all asking one scripted model."""
    ours = [Reply(call("wipe", {"target": "temp"}, "c1")), Reply(text("ours"))]
    script = Script.of(
        lambda request: ours[len(request.items) // 2] if request.body.get("tools") else Reply(text("theirs"))
    )
    async with (
        ResponsesServer(script) as model,
        openai.AsyncOpenAI(base_url=model.base_url, api_key="test") as asked,
    ):
        yield {
            "handfast": HandfastPlugin([desk(effects)], models={"default": asked}, **options),
            "openai-agents": OpenAIAgentsPlugin(
                model_params=ModelActivityParameters(start_to_close_timeout=timedelta(seconds=30)),
                model_provider=OpenAIProvider(openai_client=asked),
            ),
            "otel": OpenTelemetryPlugin(add_temporal_spans=True),
        }


async def both_answer(
    client: Client, effects: Effects, *, plugins: Sequence[Any] = (), answers: Sequence[str] = ("theirs", "ours")
) -> str:
    """Run the user's workflow on a worker, decide what waits, and replay it; return its id."""
    question = Question(text="go", theirs="theirs" in answers)
    queue = f"both-{uuid.uuid4().hex[:8]}"
    async with Worker(client, task_queue=queue, workflows=[BothLibraries], plugins=plugins):
        handle = await client.start_workflow(BothLibraries.run, question, id=queue, task_queue=queue)
        run = Handfast(client, task_queue=queue).run(handle.id)
        async with asyncio.timeout(30):
            async for request in run.requests():
                await run.approve(request, decided_by="lead")
                break
            assert await handle.result() == list(answers)
    assert effects == ["wipe temp"]

    async def histories() -> AsyncIterator[WorkflowHistory]:
        yield await handle.fetch_history()

    config = client.config()
    everywhere: list[Any] = [*config["plugins"], *plugins]
    replayer = Replayer(workflows=[BothLibraries], plugins=everywhere, data_converter=config["data_converter"])
    assert (await replayer.replay_workflows(histories())).replay_failures == {}
    return handle.id


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_the_plugins_stand_in_any_order(
    server: EmbeddedServer, effects: Effects, spans: InMemorySpanExporter, order: tuple[str, ...]
) -> None:
    """On the client, whichever comes first: both libraries answer, a person decides, what is traced is one tree, and
    the history replays."""
    spans.clear()
    async with plugins_on(effects) as made:
        client = await Client.connect(server.address, plugins=[made[each] for each in order])
        await both_answer(client, effects)
    found = {span.name: span for span in spans.get_finished_spans()}
    assert {"asked", "RunWorkflow:BothLibraries", "RunActivity:handfast.call_model"} <= found.keys()
    traces = {found[name].context.trace_id for name in ("asked", "RunActivity:handfast.call_model")}
    assert traces == {found["RunWorkflow:BothLibraries"].context.trace_id}


@pytest.mark.parametrize("where", ["client", "worker"])
async def test_the_plugins_stand_on_client_and_worker(server: EmbeddedServer, effects: Effects, where: str) -> None:
    """Ours on the worker alone, beside theirs on the client, and the other way round."""
    async with plugins_on(effects) as made:
        theirs = [made["otel"], made["openai-agents"]]
        beside, alone = [made["handfast"], made["openai-agents"]], [made["otel"]]  # theirs has to be on the client
        on_client, on_worker = (theirs, [made["handfast"]]) if where == "worker" else (beside, alone)
        client = await Client.connect(server.address, plugins=on_client)
        await both_answer(client, effects, plugins=on_worker)


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_encryption_holds_in_any_order(server: EmbeddedServer, effects: Effects, order: tuple[str, ...]) -> None:
    """With a key ring no payload of either library is readable, whichever plugin comes first."""
    async with plugins_on(effects, encryption=KEYS) as made:
        client = await Client.connect(server.address, plugins=[made[each] for each in order])
        id = await both_answer(client, effects)
    plain = await Client.connect(server.address)
    history = (await plain.get_workflow_handle(id).fetch_history()).to_json()
    readable = b" ".join(base64.b64decode(each) for each in re.findall(r'"data": "([^"]*)"', history))
    assert b"desk" in readable  # search attributes, which the server has to read
    assert not [word for word in (b"theirs", b"temp", b"Answer.") if word in readable]


@pytest.mark.parametrize("where", ["client", "worker"])
async def test_the_users_pydantic_converter_stays(server: EmbeddedServer, effects: Effects, where: str) -> None:
    """A client with Temporal's converter for pydantic, and the plugin on it or on the worker alone."""
    async with plugins_on(effects) as made:
        on_client = [made["otel"], made["handfast"]] if where == "client" else [made["otel"]]
        client = await Client.connect(server.address, data_converter=pydantic_data_converter, plugins=on_client)
        on_worker = [made["handfast"]] if where == "worker" else []
        await both_answer(client, effects, plugins=on_worker, answers=["ours"])
