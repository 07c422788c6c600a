"""Hooks for observers: what happens in the activities of an agent, told to your code as it happens."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final

from handfast.definitions.checks import a_kind, check_function, listed
from handfast.definitions.context import RunContext, ToolContext
from handfast.errors import DefinitionError
from handfast.payloads.json_profile import JsonValue
from handfast.payloads.usage import Usage

__all__ = ["AgentHooks", "ModelEnd", "ModelStart", "ToolEnd", "hooks_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStart:
    """A model is about to be called.

    Attributes:
        items: How many items the model is sent.
        tools: What it is offered, by name.
    """

    model: str
    items: int
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEnd:
    """A model has replied.

    Attributes:
        text: What it said, apart from calls.
        calls: The tools that it calls, by name, in its order.
        seconds: How long the call took.
    """

    model: str
    text: str
    calls: tuple[str, ...]
    usage: Usage
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolEnd:
    """A tool has returned or raised.

    Attributes:
        output: What the model reads of it: a text or content parts.
        failed: It raised.
        seconds: How long the function took.
    """

    output: JsonValue
    failed: bool
    seconds: float


class AgentHooks:
    """Override what you want to hear of, with sync or async methods.

    Hooks observe and change nothing: one that raises is logged, one that takes longer than five seconds is left behind.
    Each is told at least once, and again by every further attempt after a crash or a failed model call.
    """

    def on_model_start(self, context: RunContext[Any], start: ModelStart) -> Awaitable[None] | None:
        """Hear that a model is about to be called."""

    def on_model_end(self, context: RunContext[Any], end: ModelEnd) -> Awaitable[None] | None:
        """Hear that a model has replied."""

    def on_tool_start(self, context: ToolContext[Any]) -> Awaitable[None] | None:
        """Hear that a tool is about to run: after its approval, once nothing stands in its way any longer."""

    def on_tool_end(self, context: ToolContext[Any], end: ToolEnd) -> Awaitable[None] | None:
        """Hear that a tool has returned or raised. Not told of a call that was cancelled or is in doubt."""


TAKES: Final[dict[str, tuple[str, ...]]] = {
    "on_model_start": ("the run context", "the start"),
    "on_model_end": ("the run context", "the end"),
    "on_tool_start": ("the tool context",),
    "on_tool_end": ("the tool context", "the end"),
}
"""The hooks, and what each takes."""


def hooks_of(given: object, subject: str) -> tuple[AgentHooks, ...]:
    """Check hooks.

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
