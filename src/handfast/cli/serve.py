"""Serve: run a worker until it is told to stop, and the embedded server around it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from handfast.cli import exits
from handfast.cli.application import PROJECT, TABLE, Application, Served, find_application, import_application
from handfast.cli.options import Where
from handfast.cli.output import one_line, say, warn, write_json
from handfast.cli.place import quiet_core
from handfast.cli.rehearsal import KEY, Rehearsal, note_silent_server, scripted_model
from handfast.cli.reload import Reloader
from handfast.connection import DEFAULT_ADDRESS, connect, connect_config
from handfast.deltas.hub import DeltaHub
from handfast.deltas.local import forget_hub, nearby_hub, write_hub
from handfast.discretion import OWN, TEXTS, Discreet
from handfast.errors import ModelClientMissingError, PortBusyError, ServerUnavailableError
from handfast.server import DEFAULT_PORT, EmbeddedServer
from handfast.server.state import DIRECTORY, nearest_state
from handfast.temporal.namespace import project_of
from handfast.temporal.pollers import ACTIVITIES, WORKFLOWS, pollers
from handfast.worker import make_worker, serve
from handfast.worker.options import ONE_MODEL

POLLING_WITHIN_S: Final = 10.0
POLLING_LOOK_S: Final = 0.02


@dataclass(frozen=True)
class Serving:
    """The options of a worker, as they were typed; grace in seconds."""

    task_queue: str
    grace: float
    concurrency: int | None
    as_json: bool
    per_second: float | None = None
    deployment: WorkerDeploymentVersion | None = None

    def worker(self, client: Client, served: Served) -> Worker:
        """Make the worker."""
        return make_worker(
            client,
            served.plugin,
            workflows=served.workflows,
            task_queue=self.task_queue,
            grace=timedelta(seconds=self.grace),
            concurrency=self.concurrency,
            per_second=self.per_second,
            deployment=self.deployment,
        )

    def typed(self) -> list[str]:
        """Return the options that `handfast dev` shares with `handfast worker`, as they would be typed."""
        at_a_time = [] if self.concurrency is None else ["--concurrency", str(self.concurrency)]
        return ["--task-queue", self.task_queue, "--grace", str(self.grace), *at_a_time]


def version_of(deployment: str | None, build_id: str | None) -> WorkerDeploymentVersion | None:
    """Read ``--deployment`` and ``--build-id``.

    Raises:
        InputError: One of them is missing, or the name cannot be one.
    """
    if deployment is None and build_id is None:
        return None
    if not deployment or not build_id or "." in deployment:
        raise exits.InputError("a versioned worker takes --deployment NAME, without a dot, and --build-id ID")
    return WorkerDeploymentVersion(deployment_name=deployment, build_id=build_id)


async def worker(target: str | None, where: Where, serving: Serving, *, until_eof: bool = False) -> int:
    """Serve the agents of *target*, or this folder's application.

    Args:
        target: ``MODULE[:NAME]``.
        where: The server.
        serving: Options of the worker.
        until_eof: The end of standard input is told as SIGTERM is: whoever holds its other end is gone.

    Raises:
        InputError: No target is named, and this folder is no application.
        TargetError: There are none.
        DefinitionError: They cannot work, or there is no model client for them.
        ServerUnavailableError: Nobody answers there.
    """
    configure_logging()
    application = _application(target)
    if application is None:
        raise exits.InputError(f"name MODULE[:NAME], or write it as agents under [{TABLE}] in {PROJECT}")
    join_deltas(where.address, where.profile)
    served = _import(application)
    client = await connect(where.address, profile=where.profile, namespace=where.namespace)
    facts = {**_served_facts(served, serving), "address": _address(client)}

    async def announce() -> None:
        _ready(facts, as_json=serving.as_json)

    if until_eof:
        threading.Thread(target=_stop_at_eof, daemon=True).start()
    await _serve_aloud(serving.worker(client, served), announce)
    return exits.OK


async def dev(
    target: str | None,
    serving: Serving,
    *,
    port: int | None,
    ui_port: int | None,
    model: str | None = None,
    reload: bool = False,
) -> int:
    """Run the embedded server, or use the one that runs, and serve the agents of *target* or this folder's application.

    Raises:
        InputError: This folder's application cannot be used, or there is none to reload; nothing was started.
        TargetError: There are no agents at *target*; nothing was started.
        DefinitionError: They cannot work, or there is no model client for them; nothing was started.
        PortBusyError: The port that was asked for is taken.
    """
    os.environ.setdefault(TEXTS, OWN)  # what your own code raises is shown with its message: you sit in front of it
    configure_logging()
    application = _application(target)
    if reload and application is None:
        raise exits.InputError(f"--reload needs agents: name MODULE[:NAME], or agents under [{TABLE}] in {PROJECT}")
    if model is not None:
        if application is None:
            raise exits.InputError(f"--model needs agents: name MODULE[:NAME], or agents under [{TABLE}] in {PROJECT}")
        await note_silent_server(model)
        os.environ[ONE_MODEL] = model  # for the workers of --reload too
    # Two versions of a file may come within a second: a worker must not read what was compiled of the other one.
    sys.dont_write_bytecode = sys.dont_write_bytecode or reload
    task = asyncio.current_task()
    assert task is not None
    up, code = False, exits.OK
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # whoever stops us stops the server too
    try:
        async with scripted_model(application if model is None else None) as offered, own_deltas() as hub:
            served = _import_for_dev(application) if application is not None else None
            played = offered and served is not None and served.plugin.models_from_environment
            rehearsal = Rehearsal(application, played, aloud=not serving.as_json, named=model)
            rehearsal.introduce()
            async with await _server(port, ui_port) as server:
                up = True
                _note_other_address(server)
                if hub is not None and nearby_hub(server.address) is None:
                    write_hub(DIRECTORY, server.address, hub.url)
                if not serving.as_json:
                    _introduce(server)
                options = ["--address", server.address, *([] if target is None else [target])] if reload else None
                code = await _serve_on(server, served, serving, rehearsal, options)
    except asyncio.CancelledError:
        if not up:
            raise
    finally:
        forget_hub(DIRECTORY)
    return code


async def _server(port: int | None, ui_port: int | None) -> EmbeddedServer:
    """Start this folder's server, or find it; the usual port is nothing to insist on.

    Raises:
        PortBusyError: A port that was asked for is taken.
    """
    try:
        return await EmbeddedServer.start(port=DEFAULT_PORT if port is None else port, ui_port=ui_port)
    except PortBusyError as error:
        if port is not None or error.port != DEFAULT_PORT:
            raise
    server = await EmbeddedServer.start(port=0, ui_port=ui_port)
    warn(f"note: port {DEFAULT_PORT} belongs to {await _holder()}; the server of this folder is at {server.address}")
    return server


async def _holder() -> str:
    """Name whoever listens on the usual port."""
    try:
        project = await project_of(await connect(DEFAULT_ADDRESS))
    except (ServerUnavailableError, RPCError):
        return "another program"
    return "another Temporal server" if project is None else f"the server of {project}"


def _application(target: str | None) -> Application | None:
    """Return the target that was typed, alone; else the application of this folder."""
    return Application(agents=target) if target is not None else find_application(Path.cwd())


def configure_logging() -> None:
    """Let a process that serves write its warnings to stderr, those of the SDK's native part included."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(Discreet())
    quiet_core(logging.getLogger("temporalio.core"))


def _import(application: Application) -> Served:
    """Import agents and workflows, and make sure that a worker could serve them.

    Raises:
        TargetError: There are no agents, or something cannot be imported.
        DefinitionError: They cannot work, or there is no model client for them.
    """
    served = import_application(application)
    served.plugin.check_models()
    return served


def _import_for_dev(application: Application) -> Served:
    """Import agents and workflows; where there is no key, say how to go on.

    Raises:
        InputError: There is no model to ask. As for `_import` otherwise.
    """
    try:
        return _import(application)
    except ModelClientMissingError:
        raise exits.InputError(
            f"no model answers {application.agents}: set {KEY}; or without a key let a script play the model "
            f'(agents = "{application.agents}" and script = "script.json" under [{TABLE}] in {PROJECT}, then '
            "`handfast dev`), or ask a local model: `handfast dev --model ollama:llama3.2`"
        ) from None


async def _serve_on(
    server: EmbeddedServer,
    served: Served | None,
    serving: Serving,
    rehearsal: Rehearsal,
    reloading: Sequence[str] | None,
) -> int:
    """Serve until a signal.

    Args:
        server: Runs.
        served: Agents and workflows; None: the server alone.
        serving: Options of the worker.
        rehearsal: What follows once it polls.
        reloading: Arguments of worker processes that serve in place of this one, beside those options.
    """
    facts = {"server": "started" if server.started_here else "attached", "ui": server.ui_url}
    if served is None:
        _ready({**facts, "address": server.address}, as_json=serving.as_json)
        if server.started_here:
            await asyncio.Event().wait()  # until a signal
        return exits.OK
    client = await connect(server.address, namespace=server.namespace)

    async def announce() -> None:
        ready = {**_served_facts(served, serving), "address": server.address, **facts}
        _ready({**ready, "model": rehearsal.model}, as_json=serving.as_json)
        await rehearsal.play(client, serving.task_queue)

    if reloading is not None:
        return await Reloader([*reloading, *serving.typed()], Path.cwd()).run(announce)
    await _serve_aloud(serving.worker(client, served), announce)
    return exits.OK


def _stop_at_eof() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _served_facts(served: Served, serving: Serving) -> dict[str, object]:
    facts: dict[str, object] = {"agents": list(served.plugin.registry.agents), "task_queue": serving.task_queue}
    if served.workflows:
        facts["workflows"] = [workflow.__name__ for workflow in served.workflows]
    if serving.deployment is not None:
        facts["deployment"] = serving.deployment.to_canonical_string()
    return facts


async def _serve_aloud(worker: Worker, announce: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Serve until SIGTERM or SIGINT, and *announce* it once the server has seen the worker poll.

    *announce* may go on for as long as it is served; it is cancelled then.
    """
    announcing: list[asyncio.Task[None]] = []

    async def when_polling() -> None:
        await _polling(worker)
        # All that was imported stays. A full collection would look at it again and again, 0.1 s each time, in the
        # middle of workflow tasks too: on a slow machine that is half of what the SDK gives a task.
        gc.collect()
        gc.freeze()
        await announce()

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
    for kind in (WORKFLOWS, ACTIVITIES):
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
    state = "started, data under .handfast" if server.started_here else "found running"
    say(one_line(f"Temporal server: {server.address} ({state})"))
    if server.ui_url is not None:
        say(one_line(f"Temporal's page: {server.ui_url}"))


def _note_other_address(server: EmbeddedServer) -> None:
    other = os.environ.get("TEMPORAL_ADDRESS")
    if other and other != server.address:
        warn(f"note: TEMPORAL_ADDRESS is {other}; other commands go there, not to {server.address}")


def _address(client: Client) -> str:
    return client.service_client.config.target_host


VARIABLE: Final = "HANDFAST_DELTAS"


@asynccontextmanager
async def own_deltas() -> AsyncIterator[DeltaHub | None]:
    """Keep the deltas of every plugin that is made meanwhile, unless the environment says where they go.

    Yields:
        The hub, for others to find; None where there is another.
    """
    running = nearest_state(Path.cwd())
    found = nearby_hub(running.address) if running is not None else None
    if found is not None or os.environ.get(VARIABLE):
        os.environ.setdefault(VARIABLE, found or "")
        yield None
        return
    async with DeltaHub() as hub:
        os.environ[VARIABLE] = hub.url
        try:
            yield hub
        finally:
            os.environ.pop(VARIABLE, None)


def join_deltas(address: str | None, profile: str | None) -> None:
    """Let plugins that are made from here on tell the `handfast dev` that runs the server, if one does."""
    if os.environ.get(VARIABLE):
        return
    found = nearby_hub(str(connect_config(address, profile)["target_host"]))
    if found is not None:
        os.environ[VARIABLE] = found
