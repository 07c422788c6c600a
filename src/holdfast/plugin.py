"""`HoldfastPlugin`: everything that a client and a worker need, and nothing else of theirs is touched."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import openai
from temporalio.client import Client, ClientConfig, WorkflowHistory
from temporalio.client import Plugin as ClientPlugin
from temporalio.common import HeaderCodecBehavior
from temporalio.service import ConnectConfig, ServiceClient
from temporalio.worker import Plugin as WorkerPlugin
from temporalio.worker import (
    Replayer,
    ReplayerConfig,
    Worker,
    WorkerConfig,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowReplayResult,
)

from holdfast.activities.archiving import WriteArchive
from holdfast.activities.deltas import DeltaOutlet
from holdfast.activities.evaluate import Evaluate
from holdfast.activities.model import CallModel
from holdfast.activities.notify import NotifyPeople
from holdfast.activities.references import Artifacts
from holdfast.activities.runtime import Runtime
from holdfast.activities.signatures import verifier
from holdfast.activities.tools import ToolActivities
from holdfast.agent import Agent
from holdfast.approval import Groups, check_asked_groups, check_groups
from holdfast.archive import archive_at
from holdfast.artifacts import ArtifactsAt, ArtifactStore, FolderStore, store_by_default, store_named
from holdfast.converter import tolerant
from holdfast.deltas import DeltaStream, delta_stream
from holdfast.encryption import keyring_of, protected
from holdfast.errors import DefinitionError
from holdfast.hooks import AgentHooks, hooks_of
from holdfast.hosted import HostedMcp
from holdfast.interceptor import BeatGuard
from holdfast.keyring import EncryptionAt, Keyring, keyring_named
from holdfast.models.port import ModelPort
from holdfast.models.responses import ResponsesModel
from holdfast.notify import NotifyFunction, check_notify
from holdfast.payloads.signed import VERIFY
from holdfast.registry import Registry
from holdfast.sealed_store import sealed_store
from holdfast.secret import SecretResolver
from holdfast.tools import Tool
from holdfast.workflows.archiving import ArchiveRun
from holdfast.workflows.run import AgentRun
from holdfast.workflows.session import AgentSession

if TYPE_CHECKING:
    from holdfast.trusted_keys import TrustedKeys

logger = logging.getLogger(__name__)

Resources = Callable[[], AbstractAsyncContextManager[Any]]

PLUGIN: Final = "holdfast.HoldfastPlugin"
"""How a worker's plugin is called, before its version."""
WORKFLOWS: Final[tuple[type, ...]] = (AgentRun, AgentSession, ArchiveRun)


class HoldfastPlugin(ClientPlugin, WorkerPlugin):
    """Give it to ``Client.connect(plugins=[…])``, or to a ``Worker`` alone; both work, and both at once.

    It adds the workflows `AgentRun` and `AgentSession` and the activities ``holdfast.*``, and extends the client's
    payload converter so that an undecodable message cannot stop a run. Codec, failure types and worker options stay
    yours; with *encryption* your codec is kept inside ours.
    """

    def __init__(
        self,
        agents: Sequence[Agent] = (),
        *,
        tools: Sequence[Tool] = (),
        models: Mapping[str, openai.AsyncOpenAI | ModelPort] | None = None,
        default_model: str | None = None,
        resources: Resources | None = None,
        groups: Groups | None = None,
        hooks: Sequence[AgentHooks] = (),
        artifacts: ArtifactsAt = None,
        deltas: str | DeltaStream | None = None,
        archive: str | os.PathLike[str] | None = None,
        trusted_keys: TrustedKeys | str | os.PathLike[str] | None = None,
        encryption: EncryptionAt = None,
        notify: NotifyFunction | None = None,
        secrets: SecretResolver | None = None,
    ) -> None:
        """Check the definitions.

        Args:
            agents: The agents of this worker; a client that only starts and decides needs none.
            tools: Further tools, for a worker on a task queue of its own that has tools and no agents.
            models: Model clients by the name that agents use in ``client=``; None makes an ``AsyncOpenAI()`` from
                the environment when a worker starts that has agents.
            default_model: Name of the model for agents that name none; ``HOLDFAST_MODEL`` by default.
            resources: An async context manager, entered once per worker: what it yields is every tool's
                ``ctx.resources``.
            hooks: Hear of the model calls and tools of every agent; agents may have hooks of their own.
            groups: Who may decide where an `Approval` names ``group:…``: members by group, or a function, sync or
                async, of a person's name that returns the groups the person is in. Asked for each decision anew.
            artifacts: Where tool outputs above 256 KiB are kept: a folder, or a URL that fsspec knows. All workers that
                serve the same runs need the same one. By default ``HOLDFAST_ARTIFACTS``, else ``.holdfast/artifacts``
                where the worker is started, if the Temporal server is on its own machine; with another server, or with
                False, such outputs are cut.
            archive: Where histories are kept beyond the server's retention: a folder, or a URL that fsspec knows. All
                workers that serve the same runs need the same one. ``HOLDFAST_ARCHIVE`` by default; without any,
                nothing is archived.
            notify: Tells people of requests: a function, sync or async, that gets each `Notification` when a request
                opens, is brought to mind, is escalated or closes. At least once; where it raises, five times at most.
            deltas: Where what runs that are started with ``stream=True`` say goes on the way: ``redis://…``, or a
                `DeltaStream`. ``HOLDFAST_DELTAS`` by default; without any, such runs are as any other.
            trusted_keys: Production mode: only decisions count that one of these keys has signed, whatever way they
                come, and names in them are verified. `TrustedKeys`, or the path of a file of them, which is read
                again whenever it changes. ``HOLDFAST_TRUSTED_KEYS`` by default; without any, names are claimed. All
                workers that serve the same runs need it.
            encryption: A `Keyring`, or the file that holds one: all that the client and the worker write, into
                histories, artifacts and streams, is encrypted. All workers and clients of the same runs need it. By
                default the file that ``HOLDFAST_ENCRYPTION_KEYS`` names; False for none.
            secrets: A function, sync or async, of the reference of a tool's `Secret` that is neither ``env:…`` nor
                ``file:…``; it returns the value, or raises LookupError. Asked right before the tool's function runs.

        Raises:
            DefinitionError: Agents or tools cannot work together.
        """
        self.registry = Registry(agents, tools)
        self._hooks = hooks_of(hooks, "HoldfastPlugin")
        check_groups(groups)
        for agent in self.registry.agents.values():
            for name, offered in agent.offered.items():
                check_asked_groups(f"agent {agent.name!r}, tool {name!r}", offered.approval, groups)
                check_asked_groups(f"agent {agent.name!r}, tool {name!r}", getattr(offered, "on_unknown", None), groups)
            for server in agent.hosted:
                if isinstance(server, HostedMcp):
                    check_asked_groups(f"agent {agent.name!r}, {server.server_label!r}", server.approval, groups)
        self._groups = groups
        self._models = models
        self._default_model = default_model or os.environ.get("HOLDFAST_MODEL") or None
        self._resources = resources
        self._store = store_named(artifacts)
        self._deltas = deltas or os.environ.get("HOLDFAST_DELTAS") or None
        if self._deltas is not None:
            delta_stream(self._deltas)
        self._archive = archive_at(archive)
        self._trusted = trusted_keys_at(trusted_keys)
        self._keyring = keyring_named(encryption)
        check_notify(notify)
        self._notify = notify
        if secrets is not None and not callable(secrets):
            raise DefinitionError("HoldfastPlugin", "secrets must be a function of a reference")
        self._secrets = secrets

    def name(self) -> str:
        """See base class. Workers send it with their heartbeats, so `holdfast doctor` knows whose version is which."""
        return f"{PLUGIN} {version('holdfast')}"

    @property
    def models_from_environment(self) -> bool:
        """No model clients were given: a worker makes one from OPENAI_API_KEY and OPENAI_BASE_URL."""
        return self._models is None

    def check_models(self) -> None:
        """Make sure that a worker would have its model clients, before anything is started.

        Raises:
            DefinitionError: There is none, and no OPENAI_API_KEY to make one from.
        """
        self._clients()

    # --- client ---

    def configure_client(self, config: ClientConfig) -> ClientConfig:
        """Extend the data converter."""
        headers = config.get("header_codec_behavior", HeaderCodecBehavior.NO_CODEC)
        converter = tolerant(config.get("data_converter"))
        config["data_converter"], config["header_codec_behavior"] = protected(converter, self._keyring, headers)
        return config

    async def connect_service_client(
        self,
        config: ConnectConfig,
        next: Callable[[ConnectConfig], Awaitable[ServiceClient]],
    ) -> ServiceClient:
        """Connect as without the plugin."""
        return await next(config)

    # --- worker ---

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Add our workflows, our activities, and the guard of the begun mark; once, wherever the plugin was given.

        Raises:
            DefinitionError: The client's plugin and the worker's have agents or tools both, and are not the same.
        """
        earlier = _parts_in(config)
        if earlier is not None:
            if earlier.plugin is self or self.registry.empty:
                return config
            if not earlier.plugin.registry.empty:
                raise DefinitionError(
                    "HoldfastPlugin",
                    "the worker has two with agents or tools (its client's plugins count too); give all to one of them",
                )
            earlier.take_out(config)
        client = config.get("client")
        assert client is not None
        clients, made = self._clients()
        client = protected_client(client, self._keyring)
        artifacts = Artifacts(sealed_store(self._store_beside(client), keyring_of(client)))
        runtime = Runtime(
            self.registry, _ports(clients), self._default_model, self._groups, self._hooks, artifacts, self._archive
        )
        runtime.trusted = self._trusted
        runtime.notify = self._notify
        runtime.secrets = self._secrets
        if self._deltas is not None:
            runtime.deltas = DeltaOutlet(delta_stream(self._deltas), owned=isinstance(self._deltas, str))
        ours = [CallModel(runtime).run, Evaluate(runtime).run, WriteArchive(runtime).run, NotifyPeople(runtime).run]
        activities = [*ours, *ToolActivities(runtime).all()]
        config["client"] = client
        config["workflows"] = [*config.get("workflows", []), *WORKFLOWS]
        config["activities"] = [*config.get("activities", []), *activities]
        config["interceptors"] = [*config.get("interceptors", []), _Parts(self, runtime, made, activities)]
        return config

    def _store_beside(self, client: Client) -> ArtifactStore | None:
        store = store_by_default(self._store, client.service_client.config.target_host)
        if self._store is None and self.registry.tools:
            where = f"in {store.folder}" if isinstance(store, FolderStore) else "nowhere: they are cut"
            logger.info("tool outputs above 256 KiB are kept %s; HoldfastPlugin(artifacts=…) names a place", where)
        return store

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """Hold the resources while the worker runs."""
        parts = _parts_in(worker.config(active_config=True))
        if parts is None or parts.plugin is not self or parts.held:
            await next(worker)  # another one's, or the same plugin once more
            return
        parts.held = True
        if self._keyring is not None:
            worker.client = worker.client  # activities would get the one that was given, which does not encrypt
        async with AsyncExitStack() as stack:
            parts.runtime.open(worker)
            stack.callback(parts.runtime.close)
            parts.runtime.deltas.open()
            stack.push_async_callback(parts.runtime.deltas.close)
            for each in parts.made:
                stack.push_async_callback(each.close)
            if self._resources is not None:
                parts.runtime.resources = await stack.enter_async_context(self._resources())
            await next(worker)

    # --- replayer ---

    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        """Replay our workflows beside the others."""
        headers = config.get("header_codec_behavior", HeaderCodecBehavior.NO_CODEC)
        converter = tolerant(config.get("data_converter"))
        config["data_converter"], config["header_codec_behavior"] = protected(converter, self._keyring, headers)
        config["workflows"] = [*config.get("workflows", []), *WORKFLOWS]
        return config

    @asynccontextmanager
    async def run_replayer(
        self,
        replayer: Replayer,
        histories: AsyncIterator[WorkflowHistory],
        next: Callable[
            [Replayer, AsyncIterator[WorkflowHistory]],
            AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]],
        ],
    ) -> AsyncIterator[AsyncIterator[WorkflowReplayResult]]:
        """Replay as without the plugin."""
        async with next(replayer, histories) as results:
            yield results

    # --- inside ---

    def _clients(self) -> tuple[Mapping[str, openai.AsyncOpenAI | ModelPort], Sequence[openai.AsyncOpenAI]]:
        """The model clients for one worker, and those that were made for it alone: they end with it."""
        if self._models is not None:
            return self._models, ()
        if not self.registry.agents:
            return {}, ()
        try:
            made = openai.AsyncOpenAI()
        except openai.OpenAIError:
            raise DefinitionError(
                "HoldfastPlugin",
                "no model client; set OPENAI_API_KEY or give models={'default': AsyncOpenAI(…)}",
            ) from None
        return {"default": made}, (made,)


@dataclass(eq=False)
class _Parts(BeatGuard):
    """What a plugin put into one worker. Being an interceptor of it, they are found by whoever gets its config.

    Attributes:
        made: Model clients that were made for this worker alone.
        held: The worker runs, with its resources.
    """

    plugin: HoldfastPlugin
    runtime: Runtime
    made: Sequence[openai.AsyncOpenAI]
    activities: Sequence[Callable[..., Any]]
    held: bool = False

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        """Give validators the worker's keys; workflows are not intercepted."""
        if self.runtime.trusted is not None:
            input.unsafe_extern_functions[VERIFY] = verifier(self.runtime.trusted)
        return None

    def take_out(self, config: WorkerConfig) -> None:
        """Remove them again; the client keeps its converter."""
        config["workflows"] = [each for each in config.get("workflows", []) if each not in WORKFLOWS]
        config["activities"] = [each for each in config.get("activities", []) if each not in self.activities]
        config["interceptors"] = [each for each in config.get("interceptors", []) if each is not self]


def trusted_keys_at(given: TrustedKeys | str | os.PathLike[str] | None) -> TrustedKeys | None:
    """The keys that a worker trusts: what was given, else what ``HOLDFAST_TRUSTED_KEYS`` names, else none.

    Raises:
        DefinitionError: They cannot be read, or what that needs is not installed.
    """
    found = given or os.environ.get("HOLDFAST_TRUSTED_KEYS") or None
    if found is None or not isinstance(found, str | os.PathLike):
        return found
    try:
        from holdfast.trusted_keys import TrustedKeys  # noqa: PLC0415 - needs an optional extra
    except ImportError as error:
        raise DefinitionError("trusted keys", str(error)) from None
    return TrustedKeys.from_file(found)


def _parts_in(config: WorkerConfig) -> _Parts | None:
    return next((each for each in config.get("interceptors", []) if isinstance(each, _Parts)), None)


def _ports(clients: Mapping[str, openai.AsyncOpenAI | ModelPort]) -> dict[str, ModelPort]:
    return {
        name: ResponsesModel(client) if isinstance(client, openai.AsyncOpenAI) else client
        for name, client in clients.items()
    }


def protected_client(client: Client, keyring: Keyring | None) -> Client:
    """Return *client* with our converter, and our codec, around its own; the same one where it has them already."""
    config = client.config(active_config=True)
    converter, headers = protected(tolerant(client.data_converter), keyring, config["header_codec_behavior"])
    if converter is client.data_converter:
        return client
    config["data_converter"], config["header_codec_behavior"] = converter, headers
    config["plugins"] = []  # they have had their say when the given client was made
    return Client(**config)
