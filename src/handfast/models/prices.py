"""What the models of an entry cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, Protocol, runtime_checkable

from handfast.definitions.checks import check_amount
from handfast.errors import DefinitionError
from handfast.models.port import ModelAnswer
from handfast.payloads.usage import MOST_PLACES, Money, Usage, plain

ANY: Final = "*"
"""The name under which an entry has the price of every other model."""
MILLION: Final = 1_000_000
_PLACES: Final = MOST_PLACES - 6


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens of a model cost, in whatever currency all prices are.

    Attributes:
        input: Of what it reads.
        output: Of what it writes, its reasoning included.
        cached_input: Of what the provider had read before; None: as *input*.

    Raises:
        DefinitionError: One of them is no amount of money.
    """

    input: Decimal | float | str
    output: Decimal | float | str
    cached_input: Decimal | float | str | None = None

    def __post_init__(self) -> None:
        for name in ("input", "output", "cached_input"):
            if (given := getattr(self, name)) is not None or name != "cached_input":
                object.__setattr__(self, name, check_amount("Price", name, given, places=_PLACES, zero=True))

    def of(self, usage: Usage) -> Money:
        """Return what *usage* costs."""
        cached = min(usage.cached_input_tokens, usage.input_tokens)
        held = self.input if self.cached_input is None else self.cached_input
        whole = (usage.input_tokens - cached) * Decimal(self.input) + cached * Decimal(held)
        return plain((whole + usage.output_tokens * Decimal(self.output)) / MILLION)


@runtime_checkable
class PricedPort(Protocol):
    """A model entry that knows what its models cost."""

    @property
    def prices(self) -> Mapping[str, Price]:
        """By the model's name; under ``"*"`` that of every other one."""
        ...


def checked_prices(subject: str, prices: object) -> Mapping[str, Price]:
    """Read ``prices=`` of a model entry.

    Raises:
        DefinitionError: They are no mapping from names to `Price`.
    """
    if prices is None:
        return {}
    if not isinstance(prices, Mapping) or not all(
        isinstance(name, str) and isinstance(price, Price) for name, price in prices.items()
    ):
        raise DefinitionError(subject, f"prices must map names of models to Price(…), not {prices!r}")
    return dict(prices)


def price_of(port: object, model: str) -> Price | None:
    """Return the price of a model of an entry; None where it has none."""
    prices = port.prices if isinstance(port, PricedPort) else {}
    return prices.get(model, prices.get(ANY))


def priced(answer: ModelAnswer, port: object, model: str) -> ModelAnswer:
    """Return an answer with what it cost, where its entry knows."""
    return replace(answer, usage=priced_usage(answer.usage, port, model))


def priced_usage(usage: Usage, port: object, model: str) -> Usage:
    """Return a usage with what it cost, where the entry knows."""
    price = price_of(port, model)
    return usage if price is None or usage.cost is not None else usage.model_copy(update={"cost": price.of(usage)})
