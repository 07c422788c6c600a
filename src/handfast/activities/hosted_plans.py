"""Plans the provider's questions whether it may call a hosted MCP server."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

from handfast.activities.rules import ask_rule
from handfast.agent import Agent
from handfast.context import RunContext
from handfast.errors import JsonProfileError
from handfast.hosted import HostedMcp, McpCall
from handfast.payloads.call_items import arguments_text
from handfast.payloads.json_profile import JsonObject, parse_json
from handfast.payloads.model_call import PlannedCall


def servers(agent: Agent) -> dict[str, HostedMcp]:
    """The hosted MCP servers that *agent* offers, by label."""
    return {each.server_label: each for each in agent.hosted if isinstance(each, HostedMcp)}


async def plan_hosted(
    index: int, item: JsonObject, agent: Agent, context: RunContext[Any], threads: Executor
) -> PlannedCall:
    """Ask the server's approval rule; where it needs nobody, the answer is yes. Nothing runs here."""
    server = servers(agent)[item["server_label"]]
    try:
        arguments = parse_json(arguments_text(item))
    except JsonProfileError as error:
        return _refused(index, error.problem)
    if not isinstance(arguments, dict):
        return _refused(index, "not a JSON object")
    asked = McpCall(server.server_label, item["name"], arguments)
    approval = await ask_rule(server.approval, context, asked, threads)
    return PlannedCall(
        index=index,
        kind="run" if approval is None else "ask",
        approval=approval,
        worded=True if approval is not None and agent.rejection_text is not None else None,
        hosted=True,
    )


def _refused(index: int, problem: str) -> PlannedCall:
    return PlannedCall(index=index, kind="invalid", text=f"The arguments cannot be shown to a person: {problem}")
