"""Make and run a worker with the options that suit agents."""

from __future__ import annotations

import asyncio
import importlib
import logging
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Worker, WorkerDeploymentConfig

from handfast.activities.runtime.own_frames import last_own_line
from handfast.definitions.agents.agent import Agent
from handfast.definitions.schema.arguments import checked
from handfast.errors import TargetError
from handfast.worker.plugin import HandfastPlugin

logger = logging.getLogger(__name__)

STICKY_TIMEOUT: Final = timedelta(seconds=1)
"""Time that the next task waits for a killed worker before another one gets it."""
WORKFLOW_TASKS: Final = 10
"""Workflow tasks at a time. They share one core: were fifty long runs replayed at once, as after a deploy, none of
their tasks would end before its timeout."""
GRACE: Final = timedelta(seconds=30)
"""Time that running tools have to finish once the worker was told to stop."""


@checked
def make_worker(
    client: Client,
    plugin: HandfastPlugin,
    *,
    task_queue: str,
    workflows: Sequence[type] = (),
    activities: Sequence[Callable[..., Any]] = (),
    grace: timedelta = GRACE,
    concurrency: int | None = None,
    per_second: float | None = None,
    max_cached_workflows: int = 1000,
    deployment: WorkerDeploymentVersion | None = None,
) -> Worker:
    """Make a worker on the agents' own task queue.

    Args:
        client: Any client; its own plugins configure the worker too, and one of ours among them does no harm.
        plugin: The agents.
        task_queue: The task queue that runs are started on.
        workflows: Workflows of yours beside them.
        activities: Activities of yours beside them.
        grace: Time that running tools have to finish after a stop.
        concurrency: Tools and model calls that run at a time; None is the SDK's default.
        per_second: Activities a second that the server hands out from this task queue, to all its workers together;
            what a burst may have beyond that is the server's. For a task queue of model calls: see `Handfast.start`.
        max_cached_workflows: 0 replays every run at each of its tasks: slow, and good for tests.
        deployment: The worker's version, in Temporal's sense. Workflows are pinned to the version that they begin with,
            yours too unless they say otherwise; those of Handfast move on to the current one when they go on in a fresh
            history, which they do as soon as they hear of it and nothing is under way. None: no versions.

    Raises:
        DefinitionError: The client has a plugin with agents that is not *plugin*.
    """
    with warnings.catch_warnings():
        # The SDK warns of a plugin that client and worker both have; ours skips itself the second time.
        warnings.filterwarnings("ignore", "The same plugin type .*HandfastPlugin", UserWarning)
        return Worker(
            client,
            task_queue=task_queue,
            plugins=[plugin],
            workflows=list(workflows),
            activities=list(activities),
            sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
            graceful_shutdown_timeout=grace,
            max_concurrent_workflow_tasks=WORKFLOW_TASKS,
            max_concurrent_activities=concurrency,
            max_task_queue_activities_per_second=per_second,
            max_cached_workflows=max_cached_workflows,
            deployment_config=None if deployment is None else _pinned(deployment),
        )


def _pinned(deployment: WorkerDeploymentVersion) -> WorkerDeploymentConfig:
    return WorkerDeploymentConfig(
        version=deployment, use_worker_versioning=True, default_versioning_behavior=VersioningBehavior.PINNED
    )


async def serve(worker: Worker, on_ready: Callable[[], None] = lambda: None) -> None:
    """Run *worker* until SIGTERM or SIGINT, then drain it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        running = asyncio.create_task(worker.run())
        stopping = asyncio.create_task(stop.wait())
        on_ready()
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            logger.info("draining: running tools may finish")
            await worker.shutdown()
        stopping.cancel()
        await running
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@checked
def load_plugin(target: str) -> HandfastPlugin:
    """Load the agents at ``MODULE[:NAME]``, from the current directory too.

    NAME is a `HandfastPlugin`, an `Agent`, or a sequence of agents. Without it the module's ``plugin`` is taken,
    else its ``agents``, else every agent at its top level.

    Raises:
        TargetError: There is no such module or name, or it holds no agents.
    """
    module_name, _, name = target.partition(":")
    module = _module(target, module_name)
    if name:
        try:
            found = getattr(module, name)
        except AttributeError:
            raise TargetError(target, f"module {module_name} has no {name}") from None
    else:
        found = getattr(module, "plugin", None) or getattr(module, "agents", None) or _agents_of(module)
    if isinstance(found, HandfastPlugin):
        return found
    agents = [found] if isinstance(found, Agent) else found
    if not isinstance(agents, Sequence) or not agents or not all(isinstance(each, Agent) for each in agents):
        raise TargetError(target, "it holds no agents; name a HandfastPlugin, an Agent, or a list of agents")
    return HandfastPlugin(list(agents))


def _module(target: str, name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise TargetError(target, f"there is no module {name} here or on the path") from None
        raise import_failed(target, error) from error


def import_failed(target: str, error: BaseException) -> TargetError:
    """Say where in the user's own files an import failed: Python's traceback has library frames around it."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        where: str | None = f"{error.filename}, line {error.lineno}"
        said = error.msg
    else:
        where, said = last_own_line(error), str(error)
    at = "" if where is None else f" at {where}"
    return TargetError(target, f"importing it failed{at}: {type(error).__name__}: {said}")


def _agents_of(module: ModuleType) -> list[Agent]:
    found = {id(value): value for value in vars(module).values() if isinstance(value, Agent)}
    return list(found.values())
