"""Turns, tokens and time that an agent may spend, and what a run ends with where the model gave no answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeAlias, get_args

from handfast.definitions.context import RunContext
from handfast.definitions.schema.signature import require_positional
from handfast.errors import DefinitionError
from handfast.payloads.requests import LimitPolicy

__all__ = [
    "LimitPolicy",
    "MaxTurns",
    "OnMaxTurns",
    "OnRefusal",
    "Refusal",
    "check_handlers",
    "check_limits",
]


@dataclass(frozen=True, slots=True)
class MaxTurns:
    """A run has used its turns without an answer: what `Agent.on_max_turns` is told.

    Attributes:
        max_turns: How many there were, granted ones included.
    """

    max_turns: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """The model declined to answer: what `Agent.on_refusal` is told.

    Attributes:
        text: What it said.
    """

    text: str


OnMaxTurns: TypeAlias = Callable[[RunContext[Any], MaxTurns], Any | Awaitable[Any]]
OnRefusal: TypeAlias = Callable[[RunContext[Any], Refusal], Any | Awaitable[Any]]


MOST_OPEN_REQUESTS: Final = 500
"""What a run's memo, which lists them without a worker, has room for: the server refuses one above 2 MB."""


def check_limits(
    subject: str,
    max_turns: object,
    max_tokens: object,
    *,
    max_duration: object,
    max_open_requests: object,
    on_limit: object,
) -> None:
    """Check an agent's limits.

    Raises:
        DefinitionError: One of them cannot work.
    """
    for name, limit in (("max_turns", max_turns), ("max_tokens", max_tokens)):
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise DefinitionError(subject, f"{name} must be an integer of at least 1, or None for no limit")
    if max_duration is not None and not (isinstance(max_duration, timedelta) and max_duration >= timedelta(seconds=1)):
        raise DefinitionError(subject, "max_duration must be a timedelta of at least a second, or None for no limit")
    most = max_open_requests
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= MOST_OPEN_REQUESTS:
        raise DefinitionError(subject, f"max_open_requests must be an integer from 1 to {MOST_OPEN_REQUESTS}")
    if on_limit not in get_args(LimitPolicy):
        raise DefinitionError(subject, f"on_limit must be one of {', '.join(map(repr, get_args(LimitPolicy)))}")


def check_handlers(subject: str, on_max_turns: object, on_refusal: object) -> None:
    """Check an agent's functions for runs without an answer.

    Raises:
        DefinitionError: One of them is no function of two arguments.
    """
    for name, handler in (("on_max_turns", on_max_turns), ("on_refusal", on_refusal)):
        if handler is None:
            continue
        if not callable(handler):
            raise DefinitionError(subject, f"{name} must be a function of the run context and what happened")
        require_positional(handler, 2, subject, f"{name}, given the run context and what happened,")
