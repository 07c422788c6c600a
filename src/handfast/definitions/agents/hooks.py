"""Hooks: methods of yours that are called when models and tools of an agent start and end."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final

from handfast.definitions.agents.rejection import Rejection
from handfast.definitions.checks import a_kind, check_function, listed
from handfast.definitions.context import RunContext, ToolContext
from handfast.errors import DefinitionError
from handfast.payloads.json_profile import JsonValue
from handfast.payloads.usage import Usage

__all__ = [
    "AgentEnd",
    "AgentHooks",
    "AgentStart",
    "HandoffTaken",
    "ModelEnd",
    "ModelStart",
    "ToolEnd",
    "hooks_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStart:
    """A model call that is about to be made.

    Attributes:
        items: Number of items that are sent.
        tools: Names of the tools that are offered.
    """

    model: str
    items: int
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEnd:
    """A model call that has been answered.

    Attributes:
        text: Text of the reply.
        calls: Names of the tools that it calls, in its order.
        seconds: Duration of the call.
    """

    model: str
    text: str
    calls: tuple[str, ...]
    usage: Usage
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolEnd:
    """A tool call whose function has returned or raised.

    Attributes:
        output: Output for the model: a text or content parts.
        failed: True where the function raised.
        seconds: Duration of the function.
    """

    output: JsonValue
    failed: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStart:
    """An agent that begins to work: in a run, as a tool, after a handoff, or on a session's message.

    Attributes:
        handed_over_by: Name of the agent that handed over; None without a handoff.
    """

    handed_over_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEnd:
    """An agent that has ended with an output, which no guardrail changes any more.

    Attributes:
        output: A text; for an agent with an `output_type` its JSON value.
    """

    output: JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffTaken:
    """A handoff that took place.

    Attributes:
        by: Name of the agent that handed over.
        to: Name of the agent that took over.
    """

    by: str
    to: str


class AgentHooks:
    """Base class for observers: override the methods that you want, sync or async.

    Hooks observe and change nothing: one that raises is logged, one that takes longer than five seconds is left behind.
    Each is told at least once, and again by every further attempt after a crash or a failed model call.
    """

    def on_agent_start(self, context: RunContext[Any], start: AgentStart) -> Awaitable[None] | None:
        """Called before an agent's first model call: in a run, as a tool, after a handoff, on a session's message."""

    def on_agent_end(self, context: RunContext[Any], end: AgentEnd) -> Awaitable[None] | None:
        """Called when an agent has its output, after all guardrails; not for a run that fails or is cancelled."""

    def on_handoff(self, context: RunContext[Any], handoff: HandoffTaken) -> Awaitable[None] | None:
        """Called when a handoff took place: hooks of both agents, before the second one's first model call."""

    def on_call_rejected(self, context: RunContext[Any], rejection: Rejection) -> Awaitable[None] | None:
        """Called when a person, or a deadline, rejected a call: with the next model call of the agent that made it."""

    def on_model_start(self, context: RunContext[Any], start: ModelStart) -> Awaitable[None] | None:
        """Called before each model call."""

    def on_model_end(self, context: RunContext[Any], end: ModelEnd) -> Awaitable[None] | None:
        """Called after each reply."""

    def on_tool_start(self, context: ToolContext[Any]) -> Awaitable[None] | None:
        """Called right before a tool's function runs, after approval and guardrails."""

    def on_tool_end(self, context: ToolContext[Any], end: ToolEnd) -> Awaitable[None] | None:
        """Called after a tool's function has returned or raised; not for a call that was cancelled or is in doubt."""


TAKES: Final[dict[str, tuple[str, ...]]] = {
    "on_agent_start": ("the run context", "the start"),
    "on_agent_end": ("the run context", "the end"),
    "on_handoff": ("the run context", "the handoff"),
    "on_call_rejected": ("the run context", "the rejection"),
    "on_model_start": ("the run context", "the start"),
    "on_model_end": ("the run context", "the end"),
    "on_tool_start": ("the tool context",),
    "on_tool_end": ("the tool context", "the end"),
}
"""The hooks, and what each takes."""


def hooks_of(given: object, subject: str) -> tuple[AgentHooks, ...]:
    """Return hooks as a tuple.

    Raises:
        DefinitionError: For *subject*: something is no `AgentHooks` object, or a method has a wrong signature.
    """
    found: list[AgentHooks] = []
    for each in listed(subject, "hooks", given, "AgentHooks objects"):
        if not isinstance(each, AgentHooks):
            raise DefinitionError(subject, f"hooks must hold AgentHooks objects, not {a_kind(each)}")
        for name, takes in TAKES.items():
            check_function(subject, f"{type(each).__name__}.{name}", getattr(each, name), *takes)
        found.append(each)
    return tuple(found)
