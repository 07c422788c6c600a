"""Limits of an agent, and the functions that answer where its model does not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeAlias, get_args

from handfast.definitions.checks import check_choice, check_count, check_duration
from handfast.definitions.context import RunContext
from handfast.payloads.requests import LimitPolicy

__all__ = [
    "LimitPolicy",
    "MaxTurns",
    "OnMaxTurns",
    "OnRefusal",
    "Refusal",
    "check_limits",
]


@dataclass(frozen=True, slots=True)
class MaxTurns:
    """A run that used all its turns without an answer, for ``Agent(on_max_turns=…)``.

    Attributes:
        max_turns: Number of turns, granted ones included.
    """

    max_turns: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal of the model to answer, for ``Agent(on_refusal=…)``.

    Attributes:
        text: Text of the refusal.
    """

    text: str


OnMaxTurns: TypeAlias = Callable[[RunContext[Any], MaxTurns], Any | Awaitable[Any]]
OnRefusal: TypeAlias = Callable[[RunContext[Any], Refusal], Any | Awaitable[Any]]


MOST_OPEN_REQUESTS: Final = 500
"""Room in a run's memo, which lists them without a worker: the server refuses a memo above 2 MB."""


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
    check_count(subject, "max_turns", max_turns, none="no limit")
    check_count(subject, "max_tokens", max_tokens, none="no limit")
    check_duration(subject, "max_duration", max_duration, least=timedelta(seconds=1), none="no limit")
    check_count(subject, "max_open_requests", max_open_requests, most=MOST_OPEN_REQUESTS)
    check_choice(subject, "on_limit", on_limit, get_args(LimitPolicy))
