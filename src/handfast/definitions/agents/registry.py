"""The registry of a worker: agents and tools by the names that histories hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from handfast.definitions.agents.agent import Agent
from handfast.definitions.agents.agent_tool import AgentTool
from handfast.definitions.schema.output_type import OutputType
from handfast.definitions.tools.function_tool import Tool
from handfast.definitions.tools.mcp import McpServer, checked_servers
from handfast.errors import DefinitionError, UnknownAgentError, UnknownToolError
from handfast.payloads.transcript import READ_OUTPUT

__all__ = ["Registry", "output_types"]


class Registry:
    """The agents of one worker and all their tools.

    Tools are activity types of the whole worker, so a name means one tool everywhere; agents may share it.
    """

    def __init__(self, agents: Sequence[Agent], tools: Sequence[Tool] = (), mcp: Sequence[McpServer] = ()) -> None:
        """Register *agents*, every agent that they call, hand over to or let sum up, every tool and MCP server that
        these hold, *tools*, and *mcp*, whose tools every agent offers.

        Raises:
            DefinitionError: Two agents have one name, two different tools or MCP servers have one name, or a handoff
                or compaction leads nowhere.
        """
        reachable = _reachable(agents)
        by_name: dict[str, Agent] = {}
        for agent in reachable:
            if agent.name in by_name:
                raise DefinitionError(f"agent {agent.name!r}", "two agents have this name; rename one")
            by_name[agent.name] = agent
            _check_own_names(f"agent {agent.name!r}", agent.offered)
        for agent in reachable:
            for each in agent.handoffs:
                if each.to not in by_name:
                    error = UnknownAgentError(each.to, sorted(by_name))
                    raise DefinitionError(f"agent {agent.name!r}", f"the handoff {each.name!r} leads nowhere: {error}")
            summarizer = None if agent.compaction is None else agent.compaction.agent
            if summarizer is not None and summarizer not in by_name:
                error = UnknownAgentError(summarizer, sorted(by_name))
                raise DefinitionError(f"agent {agent.name!r}", f"nobody compacts its conversations: {error}")
        self._agents = MappingProxyType(dict(sorted(by_name.items())))
        self._tools = MappingProxyType(dict(sorted(_collect_tools(reachable, tools).items())))
        _check_own_names("registry", self._tools)
        self._for_all = checked_servers("HandfastPlugin", mcp)
        self._servers = MappingProxyType(_collect_servers(reachable, self._for_all))

    @property
    def agents(self) -> Mapping[str, Agent]:
        """All agents, sorted by name; read-only."""
        return self._agents

    @property
    def empty(self) -> bool:
        """True where there is neither agent nor tool."""
        return not self._agents and not self._tools and not self._servers

    @property
    def tools(self) -> Mapping[str, Tool]:
        """All tools, sorted by name; read-only."""
        return self._tools

    @property
    def servers(self) -> Mapping[str, McpServer]:
        """All MCP servers, by name; read-only."""
        return self._servers

    def servers_of(self, agent: Agent) -> tuple[McpServer, ...]:
        """Return the MCP servers whose tools *agent* offers: its own, then those of all agents."""
        own = {each.name for each in agent.mcp}
        return (*agent.mcp, *(each for each in self._for_all if each.name not in own))

    def agent(self, name: str) -> Agent:
        """Return the agent called *name*.

        Raises:
            UnknownAgentError: There is none; the text lists those that exist.
        """
        try:
            return self._agents[name]
        except KeyError:
            raise UnknownAgentError(name, tuple(self._agents)) from None

    def tool(self, name: str) -> Tool:
        """Return the tool called *name*.

        Raises:
            UnknownToolError: There is none; the text lists those that exist.
        """
        try:
            return self._tools[name]
        except KeyError:
            raise UnknownToolError(name, tuple(self._tools)) from None


def output_types(agent: Agent) -> dict[str, OutputType]:
    """Return by name the output types of *agent* and of the agents that may answer in its place, after a handoff."""
    return {each.name: each.output for each in _reachable([agent]) if each.output is not None}


def _reachable(agents: Sequence[Agent]) -> list[Agent]:
    """Return *agents* and all agents that they lead to, each object once, in the order in which it is met."""
    met: dict[int, Agent] = {}
    waiting = list(agents)
    for agent in agents:
        if not isinstance(agent, Agent):
            raise DefinitionError("registry", f"agents must be Agent objects, not a {type(agent).__name__}")
        if id(agent) in met:
            raise DefinitionError(f"agent {agent.name!r}", "it is given twice")
        met[id(agent)] = agent
    while waiting:
        agent = waiting.pop(0)
        met[id(agent)] = agent
        nested = [each.agent for each in agent.tools if isinstance(each, AgentTool)]
        targets = [each.target for each in agent.handoffs if each.target is not None]
        by = None if agent.compaction is None else agent.compaction.by
        summarizers = [by] if isinstance(by, Agent) else []
        waiting += [each for each in (*nested, *targets, *summarizers) if id(each) not in met]
    return list(met.values())


def _collect_tools(agents: Sequence[Agent], further: Sequence[Tool]) -> dict[str, Tool]:
    tools: dict[str, Tool] = {}
    owners: dict[str, str] = {}
    for each in further:
        _check_tool(each)
        if tools.setdefault(each.name, each) != each:
            raise DefinitionError(f"tool {each.name!r}", "two different tools have this name; rename one")
        owners[each.name] = "tools"
    for agent in agents:
        for tool in (each for each in agent.tools if isinstance(each, Tool)):
            if tools.setdefault(tool.name, tool) != tool:
                raise DefinitionError(
                    f"tool {tool.name!r}",
                    f"agents {owners[tool.name]!r} and {agent.name!r} mean different tools by it; rename one",
                )
            owners.setdefault(tool.name, agent.name)
    return tools


def _collect_servers(agents: Sequence[Agent], for_all: Sequence[McpServer]) -> dict[str, McpServer]:
    servers = {each.name: each for each in for_all}
    for agent in agents:
        for server in agent.mcp:
            if servers.setdefault(server.name, server) != server:
                problem = f"another MCP server than its own is named {server.name!r} too; rename one"
                raise DefinitionError(f"agent {agent.name!r}", problem)
    return servers


def _check_own_names(subject: str, names: Collection[str]) -> None:
    if READ_OUTPUT in names:
        raise DefinitionError(
            subject,
            f"no tool may be named {READ_OUTPUT!r}: with it a model reads on in outputs that went by reference; "
            "give yours name=…",
        )


def _check_tool(given: object) -> None:
    if not isinstance(given, Tool):
        raise DefinitionError("registry", f"tools must be made with @tool, not a {type(given).__name__}")
