"""The parts that the activities of one worker share."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from temporalio import activity
from temporalio.worker import Worker

from handfast.activities.runtime.beats import Beats, core_feed
from handfast.activities.runtime.blocks import BlockCache, Blocks
from handfast.activities.runtime.deltas import DeltaOutlet
from handfast.activities.runtime.hooks import Observers
from handfast.activities.runtime.outages import Outages
from handfast.activities.runtime.references import Artifacts, read_output_tool
from handfast.activities.runtime.secrets import resolved_for_server
from handfast.activities.runtime.validation import validated_context
from handfast.definitions.agents.hooks import AgentHooks
from handfast.definitions.agents.registry import Registry
from handfast.definitions.context import RunContext
from handfast.definitions.gates.approval import Groups
from handfast.definitions.gates.notify import NotifyFunction
from handfast.definitions.secret import SecretResolver
from handfast.definitions.tools.function_tool import Tool
from handfast.mcp.pool import McpPool
from handfast.models.port import ModelPort
from handfast.payloads.model_call import Origin
from handfast.payloads.runs import RunFacts
from handfast.payloads.transcript import READ_OUTPUT
from handfast.storage.archive import Archive

if TYPE_CHECKING:
    from handfast.signing.signer import Signer
    from handfast.signing.trusted_keys import TrustedKeys

TOOL_THREADS = 1000
"""More than any worker's activity slots: a call that has said *begun* must not wait for a thread."""
RULE_THREADS = 32
"""For rules, instructions and keys: of their own, so that hung ones cannot hold up a tool."""


@dataclass
class Runtime:
    """Agents, models and everything that lives as long as the worker.

    Attributes:
        default_model: Name of the model for agents that name none.
        one_model: Name of the model that every agent asks in place of its own.
        groups: Looks up the groups of a person, where the application has such a function.
        hooks: Hear of the model calls and tools of every agent.
        artifacts: Keeps outputs that are too large for the history.
        deltas: Publishes deltas to watchers.
        secrets: Knows the secrets of tools that are neither in the environment nor in a file.
        archive: Keeps histories beyond the server's retention.
        notify: Tells people of requests, where the application has such a function.
        resources: The result of the plugin's `resources`, made once.
        trusted: The keys by which decisions are verified; None: they need not be signed.
        reviewer_key: Signs what reviewers decide on this worker.
        sample_key: Draws the requests that people decide whatever a reviewer says.
        mcp: The MCP servers of the agents.
        outages: Models that were unavailable a moment ago.
    """

    registry: Registry
    models: Mapping[str, ModelPort]
    default_model: str | None = None
    groups: Groups | None = None
    hooks: Sequence[AgentHooks] = ()
    artifacts: Artifacts = field(default_factory=lambda: Artifacts(None))
    archive: Archive | None = None
    notify: NotifyFunction | None = None
    secrets: SecretResolver | None = None
    resources: Any = None
    one_model: str | None = None
    trusted: TrustedKeys | None = None
    reviewer_key: Signer | None = None
    sample_key: bytes = b""
    deltas: DeltaOutlet = field(default_factory=lambda: DeltaOutlet(None))
    outages: Outages = field(default_factory=Outages)
    blocks: Blocks = field(init=False)
    beats: Beats = field(default_factory=Beats)
    tool_threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(TOOL_THREADS, thread_name_prefix="handfast-tool")
    )
    validation_threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(TOOL_THREADS, thread_name_prefix="handfast-validation")
    )
    threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(RULE_THREADS, thread_name_prefix="handfast-rule")
    )
    notify_threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(RULE_THREADS, thread_name_prefix="handfast-notify")
    )
    review_threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(TOOL_THREADS, thread_name_prefix="handfast-review")
    )

    mcp: McpPool = field(init=False)

    def __post_init__(self) -> None:
        self.mcp = McpPool(
            self.registry.servers, lambda server: resolved_for_server(server, self.secrets, self.threads)
        )
        self.blocks = Blocks(BlockCache(), self.artifacts)
        self.read_output = read_output_tool(self.artifacts)

    @property
    def archives(self) -> bool | None:
        """True where there is an archive; None, which is left out on the wire, where not."""
        return None if self.archive is None else True

    @property
    def signed(self) -> bool | None:
        """True where decisions have to be signed; None, which is left out on the wire, where not."""
        return None if self.trusted is None else True

    @property
    def notifies(self) -> bool | None:
        """True where people are told of requests; None, which is left out on the wire, where not."""
        return None if self.notify is None else True

    def tool(self, name: str) -> Tool:
        """Return the tool called *name*: one of the registry, or ours.

        Raises:
            UnknownToolError: There is none.
        """
        return self.read_output if name == READ_OUTPUT else self.registry.tool(name)

    def observers(self, agent: str) -> Observers:
        """Return the hooks that hear of an agent: the worker's, then its own."""
        known = self.registry.agents.get(agent)
        return Observers((*self.hooks, *(known.hooks if known else ())), self.threads)

    def open(self, worker: Worker) -> None:
        """Start the thread that sends the heartbeats of *worker*."""
        self.beats.start(core_feed(worker))

    def close(self) -> None:
        """Stop the threads; a sync tool that is still running is left to end by itself."""
        self.beats.close()
        self.artifacts.close()
        for threads in (
            self.tool_threads,
            self.validation_threads,
            self.threads,
            self.notify_threads,
            self.review_threads,
        ):
            threads.shutdown(wait=False, cancel_futures=True)

    async def facts(self, origin: Origin) -> RunFacts:
        """Return a copy of the run's input facts, with the context as tools have left it; user code may change it."""
        if origin.facts is None:
            return RunFacts()
        [stored] = await self.blocks.block(origin, origin.facts)
        return RunFacts.from_wire(copy.deepcopy(stored))

    async def run_context(self, origin: Origin, kind: type[Any] | None) -> RunContext[Any]:
        """Return the run context that agent code gets.

        Args:
            origin: The run.
            kind: pydantic model of the context, None for plain JSON.

        Raises:
            ApplicationError: ``ContextInvalid``, where the run's context does not fit *kind*.
        """
        facts = await self.facts(origin)
        return RunContext(
            context=await validated_context(facts.context, kind, self.validation_threads),
            run_id=activity.info().workflow_id or "",
            agent=origin.agent,
            agent_path=tuple(origin.agent_path),
            turn=origin.turn,
            labels=facts.labels,
            requested_by=facts.requested_by,
        )
