"""Agents and tools by name: where a worker looks up the code behind the names that travel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from holdfast.agent import Agent
from holdfast.errors import DefinitionError, UnknownAgentError, UnknownToolError
from holdfast.tools import Tool

__all__ = ["Registry"]


class Registry:
    """The agents of one worker and all their tools.

    Tools are activity types of the whole worker, so a name means one tool everywhere; agents may share it.
    """

    def __init__(self, agents: Sequence[Agent]) -> None:
        """Register *agents* and every tool that they hold.

        Raises:
            DefinitionError: Two agents have one name, or two different tools have one name.
        """
        by_name: dict[str, Agent] = {}
        for agent in agents:
            if not isinstance(agent, Agent):
                raise DefinitionError("registry", f"agents must be Agent objects, not a {type(agent).__name__}")
            if agent.name in by_name:
                raise DefinitionError(f"agent {agent.name!r}", "two agents have this name; rename one")
            by_name[agent.name] = agent
        self._agents = MappingProxyType(dict(sorted(by_name.items())))
        self._tools = MappingProxyType(dict(sorted(_collect_tools(agents).items())))

    @property
    def agents(self) -> Mapping[str, Agent]:
        """All agents, sorted by name; read-only."""
        return self._agents

    @property
    def tools(self) -> Mapping[str, Tool]:
        """All tools, sorted by name; read-only."""
        return self._tools

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


def _collect_tools(agents: Sequence[Agent]) -> dict[str, Tool]:
    tools: dict[str, Tool] = {}
    owners: dict[str, str] = {}
    for agent in agents:
        for tool in agent.tools:
            if not isinstance(tool, Tool):
                continue  # it has no code here
            if tools.setdefault(tool.name, tool) != tool:
                raise DefinitionError(
                    f"tool {tool.name!r}",
                    f"agents {owners[tool.name]!r} and {agent.name!r} mean different tools by it; rename one",
                )
            owners.setdefault(tool.name, agent.name)
    return tools
