"""Agents: a name, instructions, a model and tools."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeGuard

from pydantic import BaseModel

from holdfast._signature import require_positional
from holdfast.context import RunContext
from holdfast.errors import DefinitionError, JsonProfileError
from holdfast.limits import check_limits
from holdfast.offered import NAME_PATTERN, Offered
from holdfast.output_type import OutputType, output_type_of
from holdfast.payloads.json_profile import JsonObject, check_json
from holdfast.payloads.requests import LimitPolicy
from holdfast.tools import Tool, tool

__all__ = ["Agent", "Instructions", "Rejection", "RejectionText"]

OWNED_SETTINGS: Final = frozenset(
    {
        *("background", "conversation", "include", "input", "instructions"),
        *("model", "previous_response_id", "store", "stream", "tools"),
    }
)
"""Fields of a Responses request that Holdfast fills itself."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A person refused a call.

    Attributes:
        tool: The tool's name.
        arguments: The arguments as the model wrote them.
        decided_by: Who claims to have refused; None when the deadline did.
    """

    tool: str
    arguments: JsonObject
    decided_by: str | None = None


Instructions: TypeAlias = str | Callable[[RunContext[Any]], str | Awaitable[str]]
RejectionText: TypeAlias = Callable[[RunContext[Any], Rejection], str | Awaitable[str]]


@dataclass(frozen=True, init=False)
class Agent:
    """What a run needs to know about one agent.

    Attributes:
        name: 1 to 64 letters, digits, ``_`` or ``-``; runs in flight refer to it.
        instructions: A text, or a function of the run context, evaluated before each model call.
        model: The model's name; None is the plugin's default.
        client: Which entry of ``HoldfastPlugin(models={...})`` is asked.
        tools: What the model may call; plain functions were wrapped by `holdfast.tools.tool`.
        model_settings: Further fields of the request: ``temperature``, ``reasoning``, ``max_output_tokens``…
        max_turns: Most model replies; None is no limit.
        max_tokens: Most tokens, of this agent's loop and of every agent that it uses as a tool; None is no limit. A
            reply that was begun is taken, so a run may end a reply above it.
        on_limit: At a limit the run fails (``MaxTurnsExceeded``, ``MaxTokensExceeded``), or a person is asked for more.
        rejection_text: Words the output that the model reads for a rejected call.
        context_type: pydantic model of the run's context.
        output_type: Type of the final answer: anything that pydantic can build. None and ``str`` are plain text.
        output: How the final answer is read, where it is no plain text.
    """

    name: str
    instructions: Instructions
    model: str | None
    client: str
    tools: tuple[Offered, ...]
    model_settings: Mapping[str, Any] = field(hash=False)
    max_turns: int | None
    max_tokens: int | None
    on_limit: LimitPolicy
    rejection_text: RejectionText | None
    context_type: type[BaseModel] | None
    output_type: Any = field(hash=False)
    output: OutputType | None = field(init=False, hash=False, compare=False, repr=False)

    def __init__(
        self,
        name: str,
        *,
        instructions: Instructions = "",
        model: str | None = None,
        client: str = "default",
        tools: Sequence[Offered | Callable[..., Any]] = (),
        model_settings: Mapping[str, Any] = MappingProxyType({}),
        max_turns: int | None = 100,
        max_tokens: int | None = None,
        on_limit: LimitPolicy = "fail",
        rejection_text: RejectionText | None = None,
        context_type: type[BaseModel] | None = None,
        output_type: Any = None,
    ) -> None:
        """Define an agent.

        Raises:
            DefinitionError: Something about it cannot work.
        """
        subject = f"agent {name!r}"
        _check_name(subject, name)
        _check_texts(subject, instructions, rejection_text)
        output = output_type_of(output_type, subject)
        _check_model(subject, model, client)
        check_limits(subject, max_turns, max_tokens, on_limit)
        values: dict[str, object] = {
            "name": name,
            "instructions": instructions,
            "model": model,
            "client": client,
            "tools": _wrapped(subject, tools),
            "model_settings": MappingProxyType(_checked_settings(subject, model_settings, output)),
            "max_turns": max_turns,
            "max_tokens": max_tokens,
            "on_limit": on_limit,
            "rejection_text": rejection_text,
            "context_type": context_type,
            "output_type": output_type,
            "output": output,
        }
        for attribute, value in values.items():
            object.__setattr__(self, attribute, value)
        self._check_context(subject)

    @property
    def offered(self) -> Mapping[str, Offered]:
        """What the model may call, by name: the only place where a call's name is looked up."""
        return {each.name: each for each in self.tools}

    def _check_context(self, subject: str) -> None:
        own = self.context_type
        if own is None:
            return
        if not _is_model(own):
            raise DefinitionError(subject, "context_type must be a pydantic model class")
        for each in self.tools:
            wanted = each.context_type if isinstance(each, Tool) else None
            if _is_model(wanted) and not issubclass(own, wanted):
                raise DefinitionError(
                    subject,
                    f"tool {each.name!r} wants context {wanted.__name__}, but context_type is {own.__name__}",
                )


def _is_model(candidate: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(candidate, type) and issubclass(candidate, BaseModel)


def _check_name(subject: str, name: object) -> None:
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        raise DefinitionError(subject, "the name must be 1 to 64 letters, digits, '_' or '-'")


def _check_texts(subject: str, instructions: object, rejection_text: object) -> None:
    if not isinstance(instructions, str):
        if not callable(instructions):
            raise DefinitionError(subject, "instructions must be a string or a function of the run context")
        require_positional(instructions, 1, subject, "the instructions function, given the run context,")
    if rejection_text is not None:
        if not callable(rejection_text):
            raise DefinitionError(subject, "rejection_text must be a function of run context and rejection")
        require_positional(rejection_text, 2, subject, "rejection_text, given run context and rejection,")


def _check_model(subject: str, model: object, client: object) -> None:
    if model is not None and not (isinstance(model, str) and model):
        raise DefinitionError(subject, "model must be a model's name or None")
    if not (isinstance(client, str) and client):
        raise DefinitionError(subject, "client must name an entry of the plugin's models")


def _wrapped(subject: str, tools: Sequence[Offered | Callable[..., Any]]) -> tuple[Offered, ...]:
    wrapped: dict[str, Offered] = {}
    for given in tools:
        if not isinstance(given, Offered) and not callable(given):
            raise DefinitionError(subject, f"tools must hold tools and functions, not a {type(given).__name__}")
        each = given if isinstance(given, Offered) else tool(given)
        if each.name in wrapped:
            raise DefinitionError(subject, f"two of its tools are named {each.name!r}; give one of them name=…")
        wrapped[each.name] = each
    return tuple(wrapped.values())


def _checked_settings(subject: str, settings: Mapping[str, Any], output: OutputType | None) -> JsonObject:
    copied = dict(settings)
    owned = sorted(OWNED_SETTINGS & copied.keys())
    if owned:
        raise DefinitionError(subject, f"model_settings must not hold {', '.join(owned)}: Holdfast sets it")
    try:
        check_json(copied)
    except JsonProfileError as error:
        raise DefinitionError(subject, f"model_settings must be JSON: {error.problem}") from None
    if output is not None:
        output.settings(copied, subject)
    return copied
