"""Builds what a tool, its guardrails and its hooks are told about their call."""

from __future__ import annotations

import dataclasses
from typing import Any

from handfast.activities.runtime import Runtime
from handfast.context import RunContext, ToolContext
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import Origin
from handfast.tools import Tool


async def tool_context(
    runtime: Runtime,
    origin: Origin,
    tool: Tool[..., Any],
    *,
    call_id: str,
    arguments: JsonObject,
    key: str,
    attempt: int = 1,
) -> ToolContext[Any]:
    """The context of one call, read anew.

    Raises:
        ApplicationError: ``ContextInvalid``: the run's context does not fit the tool's or the agent's model.
    """
    agent = runtime.registry.agents.get(origin.agent)
    run = await runtime.run_context(origin, tool.context_type or (agent.context_type if agent else None))
    return of_call(
        run, tool.name, call_id=call_id, arguments=arguments, key=key, attempt=attempt, resources=runtime.resources
    )


def of_call(
    run: RunContext[Any],
    tool: str,
    *,
    call_id: str,
    arguments: JsonObject,
    key: str,
    attempt: int,
    resources: object,
) -> ToolContext[Any]:
    """The run's context, as one call has it."""
    return ToolContext(
        **{field.name: getattr(run, field.name) for field in dataclasses.fields(RunContext)},
        tool=tool,
        call_id=call_id,
        arguments=arguments,
        resources=resources,
        idempotency_key=key,
        attempt=attempt,
    )
