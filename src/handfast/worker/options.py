"""The checked options of a plugin, and the runtime that a worker gets from them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from difflib import get_close_matches
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import openai
from temporalio.client import Client

from handfast.activities.runtime.deltas import DeltaOutlet
from handfast.activities.runtime.references import Artifacts
from handfast.activities.runtime.runtime import Runtime
from handfast.definitions.agents.agent import Agent
from handfast.definitions.agents.hooks import AgentHooks, hooks_of
from handfast.definitions.agents.registry import Registry
from handfast.definitions.gates.approval import Approval, Groups, check_asked_groups, check_groups
from handfast.definitions.gates.model_reviewer import ModelReviewer
from handfast.definitions.gates.notify import NotifyFunction, check_notify
from handfast.definitions.gates.review import Reviewer
from handfast.definitions.secret import SecretResolver
from handfast.definitions.tools.hosted import HostedMcp
from handfast.deltas.stream import DeltaStream, delta_stream
from handfast.encryption.codec import keyring_of
from handfast.encryption.keyring import EncryptionAt, keyring_named
from handfast.errors import DefinitionError, ModelClientMissingError
from handfast.models.named import named_model
from handfast.models.port import ModelPort, SettingsPort, model_of, most_tools_of
from handfast.models.prices import price_of
from handfast.models.responses import ResponsesModel
from handfast.payloads.model_settings import TRANSPORT_SETTINGS
from handfast.signing.key_files import reviewer_key_at, sample_key_at, trusted_keys_at
from handfast.storage.archive import archive_at
from handfast.storage.artifacts import ArtifactsAt, ArtifactStore, FolderStore, store_by_default, store_named
from handfast.storage.sealed_store import sealed_store

if TYPE_CHECKING:
    from handfast.signing.signer import Signer
    from handfast.signing.trusted_keys import TrustedKeys

logger = logging.getLogger("handfast.plugin")

Resources = Callable[[], AbstractAsyncContextManager[Any]]
Models = Mapping[str, openai.AsyncOpenAI | ModelPort | str]
ONE_MODEL: Final = "HANDFAST_ONE_MODEL"
"""Environment variable that names the one model which every agent asks, as ``handfast dev --model`` sets it."""


class PluginOptions:
    """The arguments of `HandfastPlugin`, each checked; the environment gives those that are missing.

    Attributes:
        keyring: Encrypts everything that client and worker write; None writes plain payloads.
        resources: A context manager that each worker enters once.
        models: Model clients by name; with None a worker makes one from the environment.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        models: Models | None,
        default_model: str | None,
        resources: Resources | None,
        groups: Groups | None,
        hooks: Sequence[AgentHooks],
        artifacts: ArtifactsAt,
        deltas: str | DeltaStream | None,
        archive: str | os.PathLike[str] | None,
        trusted_keys: TrustedKeys | str | os.PathLike[str] | None,
        reviewer_key: Signer | str | os.PathLike[str] | None,
        sample_key: bytes | str | os.PathLike[str] | None,
        encryption: EncryptionAt,
        notify: NotifyFunction | None,
        secrets: SecretResolver | None,
    ) -> None:
        """Check them.

        Raises:
            DefinitionError: An argument cannot work.
        """
        self._registry = registry
        self._hooks = hooks_of(hooks, "HandfastPlugin")
        _check_groups_asked(registry, groups)
        self._groups = groups
        self.models = models
        self._default_model = default_model or os.environ.get("HANDFAST_MODEL") or None
        self.resources = resources
        self._store = store_named(artifacts)
        self._deltas = deltas or os.environ.get("HANDFAST_DELTAS") or None
        if self._deltas is not None:
            delta_stream(self._deltas)
        self._archive = archive_at(archive)
        self._trusted = trusted_keys_at(trusted_keys)
        self._reviewer_key = reviewer_key_at(reviewer_key)
        self._sample_key = sample_key_at(sample_key)
        check_reviewer_key(self._reviewer_key, self._trusted)
        self.keyring = keyring_named(encryption)
        check_notify(notify)
        self._notify = notify
        if secrets is not None and not callable(secrets):
            raise DefinitionError("HandfastPlugin", "secrets must be a function of a reference")
        self._secrets = secrets

    def clients(self) -> tuple[Models, Sequence[openai.AsyncOpenAI]]:
        """Return the model clients for one worker, and those of them that this call made: they end with the worker.

        Raises:
            DefinitionError: There is none, and no OPENAI_API_KEY to make one from; or an agent names no model, or a
                client or a setting that is not there, or offers too many tools.
        """
        check_extra(self._registry)
        if not self._registry.agents:
            return self.models or {}, ()
        models, made = self._made()
        ports = _ports(models)
        if self.one_model is None:
            check_model_names(self._registry, self._default_model, ports if self.models is not None else {})
        check_agents(self._registry, ports)
        return models, made

    @property
    def one_model(self) -> str | None:
        """The model that every agent asks in place of its own; None: each asks its own."""
        named = os.environ.get(ONE_MODEL)
        return named.partition(":")[2] if named else None

    def _made(self) -> tuple[Models, Sequence[openai.AsyncOpenAI]]:
        """Make the model entries that are given by name alone, or by the environment."""
        if named := os.environ.get(ONE_MODEL):
            one = named_model(named)
            clients = {name for agent in self._registry.agents.values() for name in agent.clients}
            clients |= {each.client for _, each in reviewers_of(self._registry) if isinstance(each, ModelReviewer)}
            return dict.fromkeys(sorted(clients), one.port), () if one.client is None else (one.client,)
        if self.models is None:
            try:
                default = openai.AsyncOpenAI()
            except openai.OpenAIError:
                raise ModelClientMissingError from None
            return {"default": default}, (default,)
        found = {name: named_model(each) for name, each in self.models.items() if isinstance(each, str)}
        ports: dict[str, openai.AsyncOpenAI | ModelPort | str] = {name: each.port for name, each in found.items()}
        return {**self.models, **ports}, [each.client for each in found.values() if each.client is not None]

    def runtime(self, client: Client, models: Models) -> Runtime:
        """Return the runtime that the activities of one worker share.

        Args:
            client: The worker's client, with our converter and codec.
            models: The worker's model clients.
        """
        artifacts = Artifacts(sealed_store(self._store_beside(client), keyring_of(client)))
        runtime = Runtime(
            self._registry, _ports(models), self._default_model, self._groups, self._hooks, artifacts, self._archive
        )
        runtime.one_model = self.one_model
        runtime.trusted = self._trusted
        runtime.reviewer_key = self._reviewer_key
        runtime.sample_key = self._sample_key
        runtime.notify = self._notify
        runtime.secrets = self._secrets
        if self._deltas is not None:
            runtime.deltas = DeltaOutlet(delta_stream(self._deltas), owned=isinstance(self._deltas, str))
        return runtime

    def _store_beside(self, client: Client) -> ArtifactStore | None:
        store = store_by_default(self._store, client.service_client.config.target_host)
        if self._store is None and self._registry.tools:
            where = f"in {store.folder}" if isinstance(store, FolderStore) else "nowhere: they are cut"
            logger.info("tool outputs above 256 KiB are kept %s; HandfastPlugin(artifacts=…) names a place", where)
        return store


def _check_groups_asked(registry: Registry, groups: Groups | None) -> None:
    check_groups(groups)
    for agent in registry.agents.values():
        for name, offered in agent.offered.items():
            check_asked_groups(f"agent {agent.name!r}, tool {name!r}", offered.approval, groups)
            check_asked_groups(f"agent {agent.name!r}, tool {name!r}", getattr(offered, "on_unknown", None), groups)
        for server in agent.hosted:
            if isinstance(server, HostedMcp):
                check_asked_groups(f"agent {agent.name!r}, {server.server_label!r}", server.approval, groups)
    for each in registry.servers.values():
        for rule in (*each.approvals, each.on_unknown):
            check_asked_groups(f"MCP server {each.name!r}", rule, groups)


def check_extra(registry: Registry) -> None:
    """Check that MCP servers can be reached at all.

    Raises:
        DefinitionError: The package ``mcp`` is not installed.
    """
    if registry.servers and find_spec("mcp") is None:
        names = ", ".join(sorted(registry.servers))
        problem = f"MCP servers ({names}) need the extra mcp: pip install 'handfast[mcp]'"
        raise DefinitionError("HandfastPlugin", problem)


def check_reviewer_key(key: Signer | None, trusted: TrustedKeys | None) -> None:
    """Check that what reviewers decide on this worker would count on it.

    Raises:
        DefinitionError: Its own trusted keys do not let the key sign for any reviewer.
    """
    if key is None or trusted is None:
        return
    known = trusted.keys.get(key.kid)
    if known is None or known.state != "active" or not known.is_of_reviewers:
        raise DefinitionError(
            "HandfastPlugin",
            f"the reviewer key {key.kid} is no active key among trusted_keys that signs for a reviewer; add it: "
            f"`handfast keys trust FILE --public {key.public} --for 'reviewer:*'`",
        )


def reviewers_of(registry: Registry) -> Iterator[tuple[str, Reviewer]]:
    """Yield the reviewers that definitions name, each with whose it is. Those that a rule names are not known here."""
    for agent in registry.agents.values():
        rules = [(name, offered.approval) for name, offered in agent.offered.items()]
        rules += [(each.server_label, each.approval) for each in agent.hosted if isinstance(each, HostedMcp)]
        rules += [(server.name, rule) for server in agent.mcp for rule in server.approvals]
        for name, rule in rules:
            if isinstance(rule, Approval) and rule.review is not None:
                yield f"agent {agent.name!r}, tool {name!r}", rule.review


def check_model_names(registry: Registry, default_model: str | None, ports: Mapping[str, ModelPort]) -> None:
    """Check that every agent asks some model.

    Raises:
        DefinitionError: One names none, its model entry neither, and there is no default.
    """
    if default_model is not None:
        return
    for agent in registry.agents.values():
        port = ports.get(agent.client)
        by_entry = None if port is None else model_of(port)
        if agent.model is None and agent.prompt is None and by_entry is None:
            raise DefinitionError(
                f"agent {agent.name!r}",
                "it names no model, and there is no default; give it model=…, or the plugin default_model=…, or set "
                "HANDFAST_MODEL",
            )


def check_agents(registry: Registry, ports: Mapping[str, ModelPort]) -> None:
    """Check that every agent's requests can be made by its model client.

    Raises:
        DefinitionError: An agent or a reviewer names a client that is not there, or a setting that its client does not
            know; or an agent offers more tools than it takes.
    """
    for agent in registry.agents.values():
        subject = f"agent {agent.name!r}"
        for client in agent.clients:
            port = _port(subject, "there is no", client, ports)
            _check_tools(subject, agent, port)
            _check_settings(subject, "model_settings", agent.model_settings, port)
        _check_prices(subject, agent, ports)
    for subject, reviewer in reviewers_of(registry):
        if isinstance(reviewer, ModelReviewer):
            port = _port(subject, "its reviewer asks the", reviewer.client, ports)
            _check_settings(subject, "settings of its reviewer", reviewer.settings, port)


def _port(subject: str, what: str, client: str, ports: Mapping[str, ModelPort]) -> ModelPort:
    port = ports.get(client)
    if port is None:
        known = ", ".join(sorted(ports)) or "none"
        raise DefinitionError(subject, f"{what} model client {client!r}; HandfastPlugin(models=…) has {known}")
    return port


def _check_settings(subject: str, option: str, settings: Mapping[str, Any], port: ModelPort) -> None:
    known = port.known_settings if isinstance(port, SettingsPort) else settings
    for setting in settings:
        if setting not in known and setting not in TRANSPORT_SETTINGS:
            close = get_close_matches(setting, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "put it into extra_body, or upgrade the client's package"
            raise DefinitionError(subject, f"its model client knows no setting {setting!r} ({option}); {hint}")


def _check_prices(subject: str, agent: Agent, ports: Mapping[str, ModelPort]) -> None:
    """Refuse a limit of money for an agent one of whose models has no price."""
    for each in agent.choices if agent.max_cost is not None else ():
        client = each.client or agent.client
        if price_of(ports[client], each.model) is None:
            problem = f"it has a max_cost, and the model entry {client!r} has no price for {each.model!r}"
            raise DefinitionError(subject, f"{problem}; add it: prices={{{each.model!r}: Price(input=…, output=…)}}")


def _check_tools(subject: str, agent: Agent, port: ModelPort) -> None:
    """Refuse more tools than one request to the agent's model can offer; those with a rule may be offered in turn."""
    most = most_tools_of(port)
    always = sum(each.enabled is True for each in agent.offered.values()) + len(agent.hosted)
    if most is not None and always > most:
        raise DefinitionError(
            subject,
            f"it offers {always} tools and handoffs, and one request to its model takes {most}; give some of them to "
            "other agents, or an enabled= rule, or let the model entry say that its server takes more "
            "(ResponsesModel(client, max_tools=…))",
        )


def warn_of_silent_tools(registry: Registry) -> None:
    """Log once which tools have no description: the model is told nothing but their names and parameters."""
    silent = sorted({each.name for agent in registry.agents.values() for each in agent.tools if not each.description})
    if silent:
        names = ", ".join(silent)
        logger.warning("the model is told nothing of %s; give each a docstring, or description=…", names)


def _ports(models: Models) -> dict[str, ModelPort]:
    return {
        name: ResponsesModel(client) if isinstance(client, openai.AsyncOpenAI) else client
        for name, client in models.items()
        if not isinstance(client, str)
    }
