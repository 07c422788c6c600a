"""`Lab`: a real server, a scripted model and a replaceable worker for one test."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import ssl
import sys
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import openai
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer, Worker

from handfast.client.client import Handfast
from handfast.client.execution import Execution
from handfast.client.run import Run
from handfast.client.session import Session
from handfast.definitions.agents.agent import Agent
from handfast.definitions.agents.hooks import AgentHooks
from handfast.definitions.agents.registry import Registry
from handfast.definitions.gates.approval import Groups
from handfast.definitions.gates.notify import NotifyFunction
from handfast.definitions.schema.arguments import checked
from handfast.definitions.secret import SecretResolver
from handfast.definitions.tools.mcp import McpServer
from handfast.deltas.stream import DeltaStream
from handfast.history.chain import chain_of
from handfast.models.port import ModelPort
from handfast.payloads.requests import Request
from handfast.server import EmbeddedServer
from handfast.storage.artifacts import ArtifactsAt
from handfast.testing.deadline import within
from handfast.testing.replaying import failure_of, has_begun
from handfast.testing.responses_server import ResponsesServer
from handfast.testing.script import Script, Step
from handfast.worker import make_worker
from handfast.worker.options import Resources
from handfast.worker.plugin import HandfastPlugin

if TYPE_CHECKING:
    from handfast.signing.signer import Signer
    from handfast.signing.trusted_keys import TrustedKeys

Watched = TypeVar("Watched", bound=Execution)

WAIT_S = 30.0
"""Deadline of every wait that names none."""
END_S = 90.0
"""Deadline of each step of the end: stopping a worker, replaying one history, ending one run, closing a server. What
takes two seconds on an idle machine takes thirty beside six busy loops."""
TASK_TIMEOUT = timedelta(seconds=4)
"""A worker that is told to stop drops the workflow task that it is just being given, and the run waits so long."""


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    """One for all labs: whoever makes none reads the file of all authorities each time, for a server without TLS."""
    return ssl.create_default_context()


class Lab:
    """Everything that a test of agents needs, with nothing mocked.

    ::

        async with Lab([desk], script=[Reply(call("wipe", {"target": "tmp"})), Reply(text("done"))]) as lab:
            run = await lab.start("desk", "clean up")
            request = await lab.next_request(run)
            await lab.replace_worker()
            await run.approve(request, decided_by="lead")
            assert (await run.result()).output == "done"

    When it is left, every history that it made is replayed on today's code.

    Attributes:
        model: The scripted model server; its ``requests`` are what the model was sent.
        hf: The client.
        task_queue: A random one, so that labs on one server do not meet.
        processes: The worker processes, where the workers are processes.
    """

    @checked
    def __init__(
        self,
        agents: Sequence[Agent] | str,
        *,
        script: Script | Sequence[Step] = (),
        models: Mapping[str, Callable[[openai.AsyncOpenAI], ModelPort]] | None = None,
        dialect: str = "openai",
        server: EmbeddedServer | None = None,
        client: Client | None = None,
        workflows: Sequence[type] = (),
        activities: Sequence[Callable[..., Any]] = (),
        mcp: Sequence[McpServer] = (),
        resources: Resources | None = None,
        groups: Groups | None = None,
        hooks: Sequence[AgentHooks] = (),
        artifacts: ArtifactsAt = False,
        deltas: str | DeltaStream | None = None,
        archive: str | os.PathLike[str] | None = None,
        trusted_keys: TrustedKeys | str | os.PathLike[str] | None = None,
        signer: Signer | None = None,
        reviewer_key: Signer | str | os.PathLike[str] | None = None,
        sample_key: bytes | str | os.PathLike[str] | None = None,
        secrets: SecretResolver | None = None,
        max_cached_workflows: int | None = None,
        notify: NotifyFunction | None = None,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        replay: bool = True,
    ) -> None:
        """Describe the lab.

        Args:
            agents: Agents for a worker in this process, or ``MODULE[:NAME]`` for workers that are processes of their
                own, which can be killed.
            script: What the model answers.
            dialect: Which server the scripted model stands for, as `ResponsesServer`.
            models: What makes model entries of the scripted model's client, by name, for agents that ask it otherwise
                than by the client itself: ``{"default": lambda client: ResponsesModel(client, reasoning="drop")}``.
            server: A server to share; None starts one in memory, unless a client is given.
            client: A client with a converter or codec of its own, or of a server of its own (time skipping, say).
            workflows: The user's own workflows, served beside the agents (in-process workers).
            activities: The user's own activities, likewise.
            mcp: As `HandfastPlugin`.
            resources: Likewise.
            groups: Likewise.
            hooks: Likewise.
            artifacts: Likewise; by default none are kept.
            deltas: Likewise, for the client too; worker processes need a URL.
            archive: Likewise; the lab's client reads it too.
            trusted_keys: Likewise; worker processes need a path.
            signer: Signs what the lab's client decides.
            reviewer_key: As `HandfastPlugin`; worker processes need a path.
            sample_key: Likewise.
            secrets: As `HandfastPlugin` has it (in-process workers).
            max_cached_workflows: 0 replays each run at every one of its tasks; None is ``HANDFAST_TEST_CACHE``, or
                1,000.
            notify: Likewise.
            environment: Further variables for worker processes.
            directory: Working directory of worker processes.
            replay: Replay every history at the end.
        """
        self._agents = agents
        self.model = ResponsesServer(script, dialect=dialect)
        self._models = dict(models or {})
        self._server = server
        self._given_client = client
        self._workflows = list(workflows)
        self._activities = list(activities)
        self._mcp = mcp
        self._resources = resources
        self._groups = groups
        self._hooks = hooks
        self._artifacts = artifacts
        self._deltas = deltas
        self._archive = archive
        self._trusted_keys = trusted_keys
        self._signer = signer
        self._reviewer_key = reviewer_key
        self._sample_key = sample_key
        self._secrets = secrets
        given = max_cached_workflows
        self._cache = int(os.environ.get("HANDFAST_TEST_CACHE") or 1000) if given is None else given
        self._notify = notify
        self._environment = dict(environment or {})
        self._directory = directory
        self._replay = replay
        self.task_queue = f"lab-{uuid.uuid4().hex[:12]}"
        self._stack = AsyncExitStack()
        self._worker: Worker | None = None
        self._running: asyncio.Task[None] | None = None
        self.processes: list[asyncio.subprocess.Process] = []
        self._runs: list[Execution] = []

    # --- lifecycle ---

    async def __aenter__(self) -> Self:
        """Start server, model and worker."""
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _open(self) -> None:
        if self._server is None and self._given_client is None:
            self._server = await EmbeddedServer.start(persistent=False, port=0, ui=False)
            self._at_the_end("closing the Temporal server", self._server.close)
        await self.model.start()
        self._at_the_end("closing the model server", self.model.close)
        http = openai.DefaultAsyncHttpxClient(verify=_ssl_context())
        self._openai = openai.AsyncOpenAI(base_url=self.model.base_url, api_key="test", http_client=http)
        self._at_the_end("closing the model's client", self._openai.close)
        if self._given_client is not None:
            self.client = self._given_client
        else:
            assert self._server is not None
            self.client = await Client.connect(self._server.address)
        self.hf = Handfast(
            self.client,
            task_queue=self.task_queue,
            archive=self._archive,
            artifacts=self._artifacts,
            deltas=self._deltas,
            task_timeout=TASK_TIMEOUT,
            signer=self._signer,
        )
        self._stack.push_async_callback(self.stop_worker)
        await self.start_worker()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop everything, and replay the histories unless the test failed already.

        Raises:
            LabTimeoutError: A step of it hangs; the error names it.
        """
        try:
            if self._replay and error is None:
                await self.replay()
            await self._end_runs()
        finally:
            await self._stack.aclose()

    # --- workers ---

    def plugin(self) -> HandfastPlugin:
        """A plugin with the lab's agents and the scripted model, under every name by which they ask one."""
        assert not isinstance(self._agents, str)
        clients = {"default", *(name for agent in Registry(self._agents).agents.values() for name in agent.clients)}
        return HandfastPlugin(
            self._agents,
            models={
                **dict.fromkeys(clients, self._openai),
                **{name: make(self._openai) for name, make in self._models.items()},
            },
            default_model="scripted",
            mcp=self._mcp,
            resources=self._resources,
            groups=self._groups,
            hooks=self._hooks,
            artifacts=self._artifacts,
            deltas=self._deltas,
            archive=self._archive,
            trusted_keys=self._trusted_keys,
            reviewer_key=self._reviewer_key,
            sample_key=self._sample_key,
            notify=self._notify,
            secrets=self._secrets,
        )

    async def start_worker(self, agents: Sequence[Agent] | None = None) -> None:
        """Start a worker; with *agents*, one of another deploy."""
        if isinstance(self._agents, str):
            await self.spawn_worker(self._agents)
            return
        if agents is not None:
            self._agents = agents
        self._worker = make_worker(
            self.client,
            self.plugin(),
            task_queue=self.task_queue,
            workflows=self._workflows,
            activities=self._activities,
            grace=timedelta(seconds=2),
            max_cached_workflows=self._cache,
        )
        self._running = asyncio.create_task(self._worker.run())

    async def spawn_worker(
        self, target: str, environment: Mapping[str, str] | None = None, options: Sequence[str] = ()
    ) -> asyncio.subprocess.Process:
        """Start one more worker as a process of its own, and wait until it polls.

        Args:
            target: ``MODULE[:NAME]``.
            environment: Further variables.
            options: Further options of ``handfast worker``.
        """
        address = self.client.service_client.config.target_host
        process = await self._launched(
            ["worker", target, "--task-queue", self.task_queue, "--address", address, *options],
            {
                **os.environ,
                "OPENAI_API_KEY": "test",
                "OPENAI_BASE_URL": self.model.base_url,
                "HANDFAST_MODEL": "scripted",
                **({"HANDFAST_DELTAS": self._deltas} if isinstance(self._deltas, str) else {}),
                **_paths(
                    HANDFAST_TRUSTED_KEYS=self._trusted_keys,
                    HANDFAST_REVIEWER_KEY=self._reviewer_key,
                    HANDFAST_SAMPLE_KEY=self._sample_key,
                ),
                **({"HANDFAST_ARTIFACTS": "none"} if self._artifacts is False else {}),
                **self._environment,
                **(environment or {}),
            },
        )
        self.processes.append(process)
        assert process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            line = await process.stdout.readline()
        if b"ready" not in line:
            raise AssertionError(f"the worker {target} did not start: {line.decode()!r}")
        return process

    async def _launched(self, arguments: Sequence[str], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
        """Start the command ``handfast``, in a session of its own, with a pipe for what it prints."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "handfast", *arguments),
            cwd=self._directory,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )

    async def stop_worker(self) -> None:
        """Stop every worker in an orderly way."""
        if self._worker is not None and self._running is not None:
            worker, running = self._worker, self._running
            self._worker, self._running = None, None
            await within(END_S, f"stopping the worker of {self.task_queue}", worker.shutdown())
            await within(END_S, f"the end of the worker of {self.task_queue}", running)
        for process in self.processes:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        await self._reap()

    async def kill_worker(self) -> None:
        """Kill every worker process with SIGKILL, children included, in the middle of whatever it does."""
        for process in self.processes:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
        await self._reap()

    async def replace_worker(self) -> None:
        """Stop the worker and start a fresh one, which has to replay what it takes over."""
        await self.stop_worker()
        await self.start_worker()

    async def _reap(self) -> None:
        processes, self.processes = self.processes, []
        for process in processes:
            await within(END_S, f"the end of worker process {process.pid}", process.communicate())

    # --- runs and sessions ---

    async def start(self, agent: str | Agent, input: str = "go", **options: Any) -> Run:
        """Start a run; options as `Handfast.start`."""
        run = await self.hf.start(agent, input, **options)
        return self.watch(run)

    def session(self, agent: str | Agent, id: str | None = None, **options: Any) -> Session:
        """Name a conversation, which its first message begins; options as `Handfast.session`."""
        name = f"{agent if isinstance(agent, str) else agent.name}-{uuid.uuid4().hex[:12]}" if id is None else id
        return self.watch(self.hf.session(name, agent=agent, **options))

    def watch(self, run: Watched) -> Watched:
        """Count a run or session that was started elsewhere among the lab's own."""
        self._runs.append(run)
        return run

    async def next_request(self, run: Execution, timeout: float = WAIT_S) -> Request:
        """The first request of *run* that is open."""
        return (await self.open_requests(run, 1, timeout))[0]

    async def open_requests(self, run: Execution, count: int, timeout: float = WAIT_S) -> list[Request]:
        """Wait until *count* requests of *run* are open at the same time."""
        async with asyncio.timeout(timeout):
            async for _ in run.requests():
                pending = await run.pending()
                if len(pending) >= count:
                    return pending
        raise AssertionError(f"{run.id} ended with fewer than {count} open requests")

    # --- the end ---

    async def replay(self) -> None:
        """Replay every history of this lab on today's code.

        Raises:
            Exception: A replay failed: whatever the SDK says of it.
        """
        plugin = HandfastPlugin()
        replayer = Replayer(workflows=self._workflows, plugins=[plugin], data_converter=self.client.data_converter)
        for run in self._runs:
            what = f"reading the histories of {run.id}"
            for history in filter(has_begun, await within(END_S, what, self.histories(run))):
                what = f"the replay of {run.id} with {len(history.events)} events"
                failure = await within(END_S, what, failure_of(replayer, history))
                if failure is not None:
                    raise failure

    async def histories(self, run: Execution) -> list[WorkflowHistory]:
        """The histories of a run, the first one first: one that is long or retried goes on in another.

        A session to which nothing was said has none.
        """
        try:
            newest = await self.client.get_workflow_handle(run.id).describe()
        except RPCError as error:
            if isinstance(run, Session) and error.status is RPCStatusCode.NOT_FOUND:
                return []
            raise
        first = newest.raw_description.workflow_execution_info.first_run_id
        events: dict[str, list[HistoryEvent]] = {}
        async for run_id, event in chain_of(self.client, run.id, first, wait=False):
            events.setdefault(run_id, []).append(event)
        return [WorkflowHistory(run.id, each) for each in events.values()]

    async def _end_runs(self) -> None:
        for run in self._runs:
            await within(END_S, f"ending {run.id}", self._end(run.id))

    async def _end(self, run_id: str) -> None:
        handle = self.client.get_workflow_handle(run_id)
        try:
            if (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
                await handle.terminate("the lab closes")
        except RPCError:
            return  # it ended in between

    def _at_the_end(self, what: str, close: Callable[[], Awaitable[None]]) -> None:
        self._stack.push_async_callback(lambda: within(END_S, what, close()))


def _paths(**given: object) -> dict[str, str]:
    return {name: os.fspath(value) for name, value in given.items() if isinstance(value, str | os.PathLike)}
