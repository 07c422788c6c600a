"""Counts of tokens and requests, and what they cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final

from pydantic import Field

from handfast.payloads.base import Payload

MOST_PLACES: Final = 12
"""Places of an amount of money behind its point: a token's price has no more."""
Money = Annotated[Decimal, Field(strict=False, ge=0, le=10**15, decimal_places=MOST_PLACES, allow_inf_nan=False)]
"""An amount of money: a text on the wire, so that no reader rounds it. Its currency is that of the prices."""


def plain(amount: Decimal) -> Decimal:
    """Return *amount* as it is written without an exponent and without zeros at its end."""
    rounded = round(amount, MOST_PLACES).normalize()
    return rounded.quantize(Decimal(1)) if rounded == rounded.to_integral_value() else rounded


class Usage(Payload):
    """Counts of the model provider; one request is one reply, also one that could not be used.

    Attributes:
        cost: In money, of those replies whose model entry has a price for their model; None where none of them has.
    """

    requests: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0
    cost: Money | None = None

    def plus(self, other: Usage) -> Usage:
        """Return the sum of both."""
        return Usage(
            requests=self.requests + other.requests,
            input_tokens=self.input_tokens + other.input_tokens,
            cached_input_tokens=self.cached_input_tokens + other.cached_input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            total_tokens=self.total_tokens + other.total_tokens,
            cost=_sum(self.cost, other.cost),
        )


def _sum(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None and other is None else plain((one or Decimal(0)) + (other or Decimal(0)))


class RequestUsage(Payload):
    """Usage of one model reply.

    Attributes:
        agent_path: From the run's agent down to the one that asked.
        turn: That it was, or was to be, of the agent's loop: a reply that could not be used takes no turn.
        model: Name of the model that was asked.
    """

    agent: str
    agent_path: list[str]
    turn: int
    model: str | None = None
    usage: Usage


class Spent(Payload):
    """Detail of a model call's failure: usage of a reply that could not be used."""

    usage: Usage
    model: str | None = None
