"""Agents as tools: a nested loop that a model calls like any other tool."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from handfast.definitions.checks import check_function, check_text
from handfast.definitions.context import RunContext
from handfast.definitions.gates.approval import ApprovalRule
from handfast.definitions.schema.json_schema import arguments_schema, has_defaults_without_null
from handfast.definitions.tools.offered import (
    Offered,
    check_approval,
    check_name,
    check_turns,
    offered_schema,
    schema_of,
)
from handfast.definitions.tools.options import EnabledRule, checked_enabled
from handfast.payloads.json_profile import JsonObject, JsonValue

if TYPE_CHECKING:
    from handfast.definitions.agents.agent import Agent

__all__ = ["AgentFailure", "AgentTool", "InputBuilder", "NestedRun", "OnAgentError", "OutputExtractor", "agent_tool"]


@dataclass(frozen=True, slots=True)
class NestedRun:
    """A finished loop of a nested agent, for ``as_tool(output_extractor=…)``.

    Attributes:
        agent: Name of the agent that answered; after a handoff not the one that was called.
        output: The final answer.
        items: The loop's conversation, as the Responses API takes it.
        turns: Number of model replies.
    """

    agent: str
    output: JsonValue
    items: Sequence[JsonObject]
    turns: int


@dataclass(frozen=True, slots=True)
class AgentFailure:
    """A failed loop of a nested agent, for ``as_tool(on_error=…)`` to put into words.

    Attributes:
        kind: ``MaxTurnsExceeded``, ``ModelRefused``, ``ToolFailed``, …
    """

    agent: str
    kind: str
    message: str


InputBuilder: TypeAlias = Callable[[RunContext[Any], Any], str | list[JsonObject] | Awaitable[str | list[JsonObject]]]
OutputExtractor: TypeAlias = Callable[[RunContext[Any], NestedRun], Any]
OnAgentError: TypeAlias = (
    Literal["tell_model", "fail"] | Callable[[RunContext[Any], AgentFailure], str | Awaitable[str]]
)


class TextInput(BaseModel):
    """Parameters of an agent tool that declares none."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    input: str = Field(description="What the agent is to do. It sees nothing else of this conversation.")


@dataclass(frozen=True, kw_only=True)
class AgentTool(Offered):
    """A nested agent loop, offered to a model as one call. Made by `Agent.as_tool`.

    Attributes:
        agent: The agent that each call runs.
        max_turns: Most model replies of one nested loop; None takes the agent's own limit.
        input_builder: Makes the agent's input of the arguments; None: they are a text, or read as JSON.
        output_extractor: Makes the call's output of the finished loop.
        on_error: ``"tell_model"``, ``"fail"``, or a function that words the failure for the model.
    """

    agent: Agent = field(repr=False)
    max_turns: int | None
    input_builder: InputBuilder | None
    output_extractor: OutputExtractor | None
    on_error: OnAgentError

    @property
    def takes_text(self) -> bool:
        """True where the one parameter is the agent's input."""
        return self.arguments_model is TextInput


def agent_tool(
    agent: Agent,
    *,
    name: str | None,
    description: str | None,
    parameters: type[BaseModel] | None,
    input_builder: InputBuilder | None,
    output_extractor: OutputExtractor | None,
    max_turns: int | None,
    approval: ApprovalRule,
    enabled: EnabledRule,
    on_error: OnAgentError,
) -> AgentTool:
    """Check the options of `Agent.as_tool` and make the tool.

    Raises:
        DefinitionError: Something about it cannot work.
    """
    chosen = agent.name if name is None else name
    subject = f"agent tool {chosen!r} of agent {agent.name!r}"
    check_name(subject, chosen)
    check_approval(subject, approval)
    check_turns(subject, max_turns)
    check_text(subject, "description", description, none=True)
    _check_functions(subject, input_builder, output_extractor, on_error)
    model = TextInput if parameters is None else parameters
    schema = arguments_schema(TextInput) if parameters is None else schema_of(parameters, subject, "parameters")
    if parameters is not None and input_builder is None and has_defaults_without_null(schema):
        input_builder = _with_defaults
    said = description if description is not None else agent.description or f"Ask the agent {agent.name}."
    return AgentTool(
        name=chosen,
        description=said,
        approval=approval,
        enabled=checked_enabled(subject, enabled),
        agent=agent,
        max_turns=max_turns,
        input_builder=input_builder,
        output_extractor=output_extractor,
        on_error=on_error,
        **offered_schema(model, schema),
    )


def _with_defaults(_context: RunContext[Any], arguments: BaseModel) -> str:
    """Build the input of an agent that reads its arguments as JSON, with defaults where the model wrote null."""
    return arguments.model_dump_json(by_alias=True)


def _check_functions(subject: str, builder: object, extractor: object, on_error: object) -> None:
    if builder is not None:
        check_function(subject, "input_builder", builder, "the run context", "the arguments")
    if extractor is not None:
        check_function(subject, "output_extractor", extractor, "the run context", "the nested run")
    if on_error not in ("tell_model", "fail"):
        also = "'tell_model', 'fail', or "
        check_function(subject, "on_error", on_error, "the run context", "the failure", also=also)
