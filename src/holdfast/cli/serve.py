"""Serves: a worker until it is told to stop, and the embedded server around it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from holdfast.cli import exits
from holdfast.cli.options import Where
from holdfast.cli.output import one_line, say, warn, write_json
from holdfast.cli.place import pollers, quiet_core
from holdfast.connection import connect
from holdfast.errors import TargetError
from holdfast.plugin import HoldfastPlugin
from holdfast.server import EmbeddedServer
from holdfast.worker import load_plugin, make_worker, serve

POLLING_WITHIN_S: Final = 10.0
POLLING_LOOK_S: Final = 0.02


@dataclass(frozen=True)
class Serving:
    """How a worker serves, as it was typed; grace in seconds."""

    task_queue: str
    grace: float
    concurrency: int | None
    as_json: bool

    def worker(self, client: Client, plugin: HoldfastPlugin) -> Worker:
        """Make it."""
        return make_worker(
            client,
            plugin,
            task_queue=self.task_queue,
            grace=timedelta(seconds=self.grace),
            concurrency=self.concurrency,
        )


async def worker(target: str, where: Where, serving: Serving) -> int:
    """Serve the agents of *target*.

    Raises:
        TargetError: There are none.
        DefinitionError: They cannot work, or there is no model client for them.
        ServerUnavailableError: Nobody answers there.
    """
    configure_logging()
    plugin = agents_of(target)
    client = await connect(where.address, profile=where.profile, namespace=where.namespace)
    facts = {"agents": list(plugin.registry.agents), "task_queue": serving.task_queue, "address": _address(client)}
    await _serve_aloud(serving.worker(client, plugin), lambda: _ready(facts, as_json=serving.as_json))
    return exits.OK


async def dev(target: str | None, serving: Serving, *, port: int, ui_port: int | None) -> int:
    """Run the embedded server, or use the one that runs, and serve the agents of *target* on it.

    Raises:
        TargetError: There are no agents at *target*; nothing was started.
        DefinitionError: They cannot work, or there is no model client for them; nothing was started.
        PortBusyError: The port is taken.
    """
    configure_logging()
    plugin = agents_of(target) if target is not None else None
    task = asyncio.current_task()
    assert task is not None
    up = False
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # whoever stops us stops the server too
    try:
        async with await EmbeddedServer.start(port=port, ui_port=ui_port) as server:
            up = True
            _note_other_address(server)
            if not serving.as_json:
                _introduce(server)
            facts = {"server": "started" if server.started_here else "attached", "ui": server.ui_url}
            if plugin is not None:
                await _serve_on(server, plugin, facts, serving)
            else:
                _ready({**facts, "address": server.address}, as_json=serving.as_json)
                if server.started_here:
                    await asyncio.Event().wait()  # until a signal
    except asyncio.CancelledError:
        if not up:
            raise
    return exits.OK


def configure_logging() -> None:
    """Let a process that serves write its warnings to stderr, those of the SDK's native part included."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    quiet_core(logging.getLogger("temporalio.core"))


def agents_of(target: str) -> HoldfastPlugin:
    """Import the agents that *target* names, and make sure that a worker could serve them.

    Raises:
        TargetError: There are none, or their module cannot be imported.
        DefinitionError: They cannot work, or there is no model client for them.
    """
    plugin = import_agents(target)
    plugin.check_models()
    return plugin


def import_agents(target: str) -> HoldfastPlugin:
    """Import the agents that *target* names.

    Raises:
        TargetError: There are none, or their module cannot be imported.
        DefinitionError: They cannot work.
    """
    module = target.partition(":")[0]
    if module.endswith(".py"):
        raise TargetError(target, f"name the module, not its file: {module.removesuffix('.py').replace('/', '.')}")
    try:
        return load_plugin(target)
    except (TargetError, asyncio.CancelledError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise TargetError(target, f"importing it failed: {type(error).__name__}: {error}") from error


async def _serve_on(
    server: EmbeddedServer, plugin: HoldfastPlugin, facts: dict[str, str | None], serving: Serving
) -> None:
    client = await Client.connect(server.address, namespace=server.namespace)
    served = {"agents": list(plugin.registry.agents), "task_queue": serving.task_queue, "address": server.address}
    made = serving.worker(client, plugin)
    await _serve_aloud(made, lambda: _ready({**served, **facts}, as_json=serving.as_json))


async def _serve_aloud(worker: Worker, announce: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT, and *announce* it once the server has seen the worker poll."""
    announcing: list[asyncio.Task[None]] = []

    async def when_polling() -> None:
        await _polling(worker)
        announce()

    try:
        await serve(worker, lambda: announcing.append(asyncio.create_task(when_polling())))
    finally:
        for task in announcing:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _polling(worker: Worker) -> None:
    """Wait until the server lists *worker* among the pollers of both its queues."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + POLLING_WITHIN_S
    for kind in (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY):
        while loop.time() < give_up_at:
            try:
                found = await pollers(worker.client, worker.task_queue, kind)
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    await asyncio.Event().wait()  # no such namespace: the worker itself is about to say so
                return  # not allowed to look: the worker runs all the same
            if any(each.identity == worker.client.identity for each in found):
                break
            await asyncio.sleep(POLLING_LOOK_S)


def _ready(facts: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        write_json({"ready": True, **facts})
    elif "agents" not in facts:
        say(one_line(f"ready: server at {facts['address']}"))
    else:
        agents = facts["agents"]
        names = ", ".join(map(str, agents)) if isinstance(agents, list) else ""
        say(
            one_line(
                f"ready: worker for {names or 'no agents'} on task queue {facts['task_queue']} at {facts['address']}"
            )
        )


def _introduce(server: EmbeddedServer) -> None:
    state = "started, data under .holdfast" if server.started_here else "found running"
    say(one_line(f"Temporal server: {server.address} ({state})"))
    if server.ui_url is not None:
        say(one_line(f"Temporal's page: {server.ui_url}"))


def _note_other_address(server: EmbeddedServer) -> None:
    other = os.environ.get("TEMPORAL_ADDRESS")
    if other and other != server.address:
        warn(f"note: TEMPORAL_ADDRESS is {other}; other commands go there, not to {server.address}")


def _address(client: Client) -> str:
    return client.service_client.config.target_host
