"""The plugin beside other plugins, and beside itself on the client."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import openai
import pytest
from temporalio.client import Client
from temporalio.plugin import SimplePlugin
from temporalio.worker import Worker, WorkerConfig

from handfast import Agent, Handfast, HandfastPlugin
from handfast.errors import DefinitionError
from handfast.server import EmbeddedServer
from handfast.testing import Reply, ResponsesServer, call, text
from handfast.worker import make_worker
from support.desk import DONE, desk
from support.labs import Effects, MakeLab

LOOK = Reply(call("look", {"check": "fans"}, "c1"))


class Counting(SimplePlugin):
    """A user's own client plugin that takes part in every worker of its client."""

    def __init__(self) -> None:
        """Count from zero."""
        super().__init__("tests.Counting")
        self.workers = 0

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """See base class."""
        self.workers += 1
        return super().configure_worker(config)


def plugin_of(*agents: Agent) -> HandfastPlugin:
    """A plugin that never gets to ask a model."""
    return HandfastPlugin(agents, models={"default": openai.AsyncOpenAI(api_key="test")}, default_model="m")


async def test_the_users_client_plugins_reach_the_worker(
    make_lab: MakeLab, server: EmbeddedServer, effects: Effects
) -> None:
    """A plugin on the user's client configures a worker made by `make_worker`, as it would any other, and once."""
    counting = Counting()
    client = await Client.connect(server.address, plugins=[counting])
    lab = await make_lab([desk(effects)], script=[LOOK, DONE], client=client)
    assert (await (await lab.start("desk")).result()).output == "done"
    assert (counting.workers, effects) == (1, ["look fans"])


async def test_a_client_with_a_plugin_without_agents_serves_those_of_the_worker(
    make_lab: MakeLab, server: EmbeddedServer, effects: Effects
) -> None:
    """A client whose plugin has no agents can be given to a worker whose plugin has some."""
    client = await Client.connect(server.address, plugins=[HandfastPlugin()])
    lab = await make_lab([desk(effects)], script=[LOOK, DONE], client=client)
    assert (await (await lab.start("desk")).result()).output == "done"
    assert effects == ["look fans"]


@pytest.mark.parametrize("how", ["make_worker", "Worker"])
async def test_one_plugin_on_client_and_worker_counts_once(server: EmbeddedServer, effects: Effects, how: str) -> None:
    """The same plugin given to the client and to its worker serves as one, with its resources entered once."""
    entered: list[str] = []

    @asynccontextmanager
    async def resources() -> AsyncIterator[None]:
        entered.append("in")
        yield
        entered.append("out")

    queue = f"both-{uuid.uuid4().hex[:8]}"
    async with (
        ResponsesServer([LOOK, Reply(text("done"))]) as model,
        openai.AsyncOpenAI(base_url=model.base_url, api_key="test") as asked,
    ):
        plugin = HandfastPlugin(
            [desk(effects)], models={"default": asked}, default_model="scripted", resources=resources
        )
        client = await Client.connect(server.address, plugins=[plugin])
        if how == "make_worker":
            worker = make_worker(client, plugin, task_queue=queue)
        else:
            with pytest.warns(UserWarning, match="The same plugin type"):  # the SDK's own, which we leave to it
                worker = Worker(client, task_queue=queue, plugins=[plugin])
        async with worker:
            run = await Handfast(client, task_queue=queue).start("desk", "go")
            assert (await run.result()).output == "done"
    assert effects == ["look fans"]
    assert entered == ["in", "out"]


async def test_two_plugins_with_agents_are_refused_in_a_line(server: EmbeddedServer) -> None:
    """A client's plugin and a worker's that have different agents are refused, with what to do instead."""
    client = await Client.connect(server.address, plugins=[plugin_of(Agent("one"))])
    with pytest.raises(DefinitionError, match="give all to one of them") as refused:
        make_worker(client, plugin_of(Agent("two")), task_queue="q")
    assert "\n" not in str(refused.value)
