"""`HandfastPlugin`: adds what agents need to a client and a worker, and changes nothing else of them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import openai
from temporalio.client import Client, ClientConfig, Plugin as ClientPlugin, WorkflowHistory
from temporalio.common import HeaderCodecBehavior
from temporalio.converter import DataConverter, DefaultPayloadConverter
from temporalio.service import ConnectConfig, ServiceClient
from temporalio.worker import (
    Plugin as WorkerPlugin,
    Replayer,
    ReplayerConfig,
    Worker,
    WorkerConfig,
    WorkflowReplayResult,
)

from handfast.activities.runtime.user_errors import log_error
from handfast.definitions.agents.agent import Agent
from handfast.definitions.agents.hooks import AgentHooks
from handfast.definitions.agents.registry import Registry
from handfast.definitions.gates.approval import Groups
from handfast.definitions.gates.notify import NotifyFunction
from handfast.definitions.schema.arguments import checked_definition
from handfast.definitions.secret import SecretResolver
from handfast.definitions.tools.function_tool import Tool
from handfast.definitions.tools.mcp import McpServer
from handfast.deltas.stream import DeltaStream
from handfast.encryption.codec import protected, with_codec
from handfast.encryption.converter import tolerant
from handfast.encryption.keyring import EncryptionAt, Keyring
from handfast.errors import DefinitionError
from handfast.models.port import ModelPort
from handfast.storage.artifacts import ArtifactsAt
from handfast.worker.options import PluginOptions, Resources, warn_of_silent_tools
from handfast.worker.parts import WORKFLOWS, PluginParts, fit_runners, parts_in

if TYPE_CHECKING:
    from handfast.signing.signer import Signer
    from handfast.signing.trusted_keys import TrustedKeys

PLUGIN: Final = "handfast.HandfastPlugin"
"""Name of the plugin in a worker's heartbeats, which carry no version of a library: the version follows it there."""


class HandfastPlugin(ClientPlugin, WorkerPlugin):
    """Give it to ``Client.connect(plugins=[…])``, or to a ``Worker`` alone; both work, and both at once.

    It adds the workflows `AgentRun` and `AgentSession` and the activities ``handfast.*``, and extends the client's
    payload converter so that an undecodable message cannot stop a run. Handfast passes through the sandbox of your own
    workflows; your modules do not. Codec, failure types and worker options stay yours; with *encryption* your codec is
    kept inside ours.
    """

    @checked_definition
    def __init__(
        self,
        agents: Sequence[Agent] = (),
        *,
        tools: Sequence[Tool] = (),
        mcp: Sequence[McpServer] = (),
        models: Mapping[str, openai.AsyncOpenAI | ModelPort | str] | None = None,
        default_model: str | None = None,
        resources: Resources | None = None,
        groups: Groups | None = None,
        hooks: Sequence[AgentHooks] = (),
        artifacts: ArtifactsAt = None,
        deltas: str | DeltaStream | None = None,
        archive: str | os.PathLike[str] | None = None,
        trusted_keys: TrustedKeys | str | os.PathLike[str] | None = None,
        reviewer_key: Signer | str | os.PathLike[str] | None = None,
        sample_key: bytes | str | os.PathLike[str] | None = None,
        encryption: EncryptionAt = None,
        notify: NotifyFunction | None = None,
        secrets: SecretResolver | None = None,
    ) -> None:
        """Check the definitions.

        Args:
            agents: The agents of this worker; a client that only starts and decides needs none.
            tools: Further tools, for a worker on a task queue of its own that has tools and no agents.
            mcp: MCP servers whose tools every agent offers; an agent may have servers of its own.
            models: Model clients by the name that agents use in ``client=``, or the names of their models, as
                ``"ollama:llama3.2"``; None makes an ``AsyncOpenAI()`` from
                the environment when a worker starts that has agents.
            default_model: Name of the model for agents that name none; ``HANDFAST_MODEL`` by default.
            resources: An async context manager, entered once per worker: what it yields is every tool's
                ``ctx.resources``.
            hooks: Hear of the model calls and tools of every agent; agents may have hooks of their own.
            groups: Members of the groups that an `Approval` names as ``group:…``: a table, or a function, sync or
                async, of a person's name that returns the groups the person is in. Asked for each decision anew.
            artifacts: Keeps tool outputs above 256 KiB: a folder, or a URL that fsspec knows. All workers that
                serve the same runs need the same one. By default ``HANDFAST_ARTIFACTS``, else ``.handfast/artifacts``
                where the worker is started, if the Temporal server is on its own machine; with another server, or with
                False, such outputs are cut.
            archive: Keeps histories beyond the server's retention: a folder, or a URL that fsspec knows. All
                workers that serve the same runs need the same one. ``HANDFAST_ARCHIVE`` by default; without any,
                nothing is archived.
            notify: Tells people of requests: a function, sync or async, that gets each `Notification` when a request
                opens, is brought to mind, is escalated or closes. At least once; where it raises, five times at most.
            deltas: Carries the words of runs that are started with ``stream=True``: ``redis://…``, or a
                `DeltaStream`. ``HANDFAST_DELTAS`` by default; without any, such runs are as any other.
            trusted_keys: Production mode: only decisions count that one of these keys has signed, whatever way they
                come, and names in them are verified. `TrustedKeys`, or the path of a file of them, which is read
                again whenever it changes. ``HANDFAST_TRUSTED_KEYS`` by default; without any, names are claimed. All
                workers that serve the same runs need it.
            reviewer_key: A `Signer`, or the path of its file: in production mode it signs what reviewers decide on this
                worker, and *trusted_keys* has to let it sign for them. ``HANDFAST_REVIEWER_KEY`` by default.
            sample_key: Bytes, or the path of a file, by which ``Approval(sample=…)`` draws the requests that people
                decide whatever a reviewer says. Nobody without it can tell which. ``HANDFAST_SAMPLE_KEY`` by default,
                else an empty one. All workers that serve the same runs need the same one.
            encryption: A `Keyring`, or the file that holds one: all that the client and the worker write, into
                histories, artifacts and streams, is encrypted. All workers and clients of the same runs need it. By
                default the file that ``HANDFAST_ENCRYPTION_KEYS`` names; False for none.
            secrets: A function, sync or async, of the reference of a tool's `Secret` that is neither ``env:…`` nor
                ``file:…``; it returns the value, or raises LookupError. Asked right before the tool's function runs.

        Raises:
            DefinitionError: Agents or tools cannot work together.
        """
        self.registry = Registry(agents, tools, mcp)
        self._options = PluginOptions(
            self.registry,
            models=models,
            default_model=default_model,
            resources=resources,
            groups=groups,
            hooks=hooks,
            artifacts=artifacts,
            deltas=deltas,
            archive=archive,
            trusted_keys=trusted_keys,
            reviewer_key=reviewer_key,
            sample_key=sample_key,
            encryption=encryption,
            notify=notify,
            secrets=secrets,
        )

    def name(self) -> str:
        """See base class. Workers send it with their heartbeats: `handfast doctor` reads their versions from it."""
        return f"{PLUGIN} {version('handfast')}"

    @property
    def models_from_environment(self) -> bool:
        """No model clients were given: a worker makes one from OPENAI_API_KEY and OPENAI_BASE_URL."""
        return self._options.models is None

    def check_models(self) -> None:
        """Make sure that a worker would have its model clients, before anything is started.

        Raises:
            DefinitionError: There is none, and no OPENAI_API_KEY to make one from.
        """
        self._options.clients()

    # --- client ---

    def configure_client(self, config: ClientConfig) -> ClientConfig:
        """Extend the data converter; where plugins follow that may bring their own, leave the default one to them.

        A worker extends whatever converter its client has in the end.
        """
        self._protect(config, last=(config.get("plugins") or [self])[-1] is self)
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
        earlier = parts_in(config)
        if earlier is not None:
            if earlier.owner is self or self.registry.empty:
                return config
            if not earlier.runtime.registry.empty:
                raise DefinitionError(
                    "HandfastPlugin",
                    "the worker has two with agents or tools (its client's plugins count too); give all to one of them",
                )
            earlier.take_out(config)
        client = config.get("client")
        assert client is not None
        models, made = self._options.clients()
        warn_of_silent_tools(self.registry)
        config["client"] = protected_client(client, self._options.keyring)
        PluginParts.of(self, self._options.runtime(config["client"], models), made, client).put_in(config)
        return config

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """Hold the resources while the worker runs."""
        parts = parts_in(worker.config(active_config=True))
        if parts is None or parts.owner is not self or parts.held:
            await next(worker)  # another one's, or the same plugin once more
            return
        parts.held = True
        if self._options.keyring is not None:
            # The SDK (1.35) keeps the client that the worker was given for activities, and that one does not encrypt.
            worker.client = worker.client
        async with AsyncExitStack() as held:
            await parts.hold(worker, held)
            if self._options.resources is not None:
                parts.runtime.resources = await held.enter_async_context(_logged(self._options.resources))
            await next(worker)

    # --- replayer ---

    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        """Replay our workflows beside the others."""
        self._protect(config, last=False)  # it does not say which plugins follow
        config["workflows"] = [*config.get("workflows", []), *WORKFLOWS]
        fit_runners(config)
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
        """Replay as without the plugin, with the converter that the last plugin left, extended."""
        config = replayer.config(active_config=True)
        given = config.get("data_converter")
        self._protect(config, last=True)
        if config.get("data_converter") is not given:
            replayer = Replayer(**config)
        async with next(replayer, histories) as results:
            yield results

    # --- inside ---

    def _protect(self, config: ClientConfig | ReplayerConfig, *, last: bool) -> None:
        """Put our converter, and our codec, around those that are there.

        Plugins that bring a converter of their own know the default one by its class, and refuse others: it keeps that
        as long as we are not the *last* to be asked.
        """
        keyring = self._options.keyring
        headers = config.get("header_codec_behavior", HeaderCodecBehavior.NO_CODEC)
        converter = config.get("data_converter") or DataConverter.default
        if last or converter.payload_converter_class is not DefaultPayloadConverter:
            converter, headers = protected(tolerant(converter), keyring, headers)
        elif keyring is not None:
            converter, headers = with_codec(converter, keyring), HeaderCodecBehavior.CODEC
        config["data_converter"], config["header_codec_behavior"] = converter, headers


@asynccontextmanager
async def _logged(resources: Resources) -> AsyncIterator[Any]:
    """Enter the resources, and log what they raise on the way in or out; what the worker raises is not theirs."""
    failed = False
    try:
        async with resources() as made:
            try:
                yield made
            except BaseException:
                failed = True
                raise
    except Exception as error:
        if not failed:
            log_error("resources of HandfastPlugin", error, "the worker ends", function=resources)
        raise


def protected_client(client: Client, keyring: Keyring | None) -> Client:
    """Return *client* with our converter, and our codec, around its own; the same one where it has them already."""
    config = client.config(active_config=True)
    converter, headers = protected(tolerant(client.data_converter), keyring, config["header_codec_behavior"])
    if converter is client.data_converter:
        return client
    config["data_converter"], config["header_codec_behavior"] = converter, headers
    config["plugins"] = []  # they configured the given client when it was made
    return Client(**config)
