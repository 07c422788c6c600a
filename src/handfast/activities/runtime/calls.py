"""Builds the tool context of a call, for the tool, its guardrails and its hooks."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

from handfast.activities.runtime.runtime import Runtime
from handfast.definitions.context import RunContext, ToolContext
from handfast.definitions.tools.function_tool import Tool
from handfast.payloads.call_items import arguments_text
from handfast.payloads.json_profile import JsonObject, parse_json
from handfast.payloads.model_call import Origin
from handfast.payloads.tool_call import ArgumentsAt


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
    """Read the run's context anew for one call.

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
    """Return the run's context as one call has it."""
    return ToolContext(
        **{field.name: getattr(run, field.name) for field in dataclasses.fields(RunContext)},
        tool=tool,
        call_id=call_id,
        arguments=arguments,
        resources=resources,
        idempotency_key=key,
        attempt=attempt,
    )


class AboutCall(Protocol):
    """A payload that tells of one call."""

    @property
    def origin(self) -> Origin: ...
    @property
    def arguments(self) -> JsonObject | None: ...
    @property
    def at(self) -> ArgumentsAt | None: ...


async def arguments_of(runtime: Runtime, asked: AboutCall) -> JsonObject:
    """Return the arguments that *asked* is about; they were checked when the reply was planned."""
    if asked.arguments is not None or asked.at is None:
        return asked.arguments or {}
    items = await runtime.blocks.block(asked.origin, asked.at.block)
    parsed = parse_json(arguments_text(items[asked.at.index]))
    return parsed if isinstance(parsed, dict) else {}
