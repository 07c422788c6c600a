"""The shop's books: orders, which are only read, and a ledger, which gets one line for each refund."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, TypeAdapter

ORDERS: Final = "orders.json"
"""A JSON list of orders."""
LEDGER: Final = "ledger.jsonl"
"""One line of JSON per refund."""


class Order(BaseModel):
    """An order; what was paid for it is in euros."""

    order: int
    customer: str
    item: str
    paid: float


class Refund(BaseModel):
    """A line of the ledger.

    Attributes:
        amount: In euros.
        key: No two lines have the same.
        run: The run that paid it, and `call` its call there.
        at: When, in UTC.
    """

    order: int
    amount: float
    key: str
    run: str
    call: str
    at: datetime


class OrderUnknownError(Exception):
    """The customer has no such order. The text is for the model to read."""


class RefundRefusedError(Exception):
    """The books do not allow it. The text is for the model to read."""


_ORDERS: Final = TypeAdapter(list[Order])


@dataclass(frozen=True)
class Books:
    """Orders and ledger, as files of one folder."""

    root: Path

    def order(self, number: int, customer: str | None) -> Order:
        """Look up an order of one customer; those of others are not there.

        Raises:
            OrderUnknownError: The customer has no such order.
        """
        file = self.root / ORDERS
        orders = _ORDERS.validate_json(file.read_bytes()) if file.exists() else []
        for order in orders:
            if (order.order, order.customer) == (number, customer):
                return order
        raise OrderUnknownError(f"this customer has no order {number}")

    def refunds(self) -> list[Refund]:
        """The lines of the ledger, oldest first."""
        with self._ledger() as ledger:
            return _lines(ledger)

    def pay_back(self, order: Order, amount: float, *, key: str, run: str, call: str) -> Refund:
        """Write a refund into the ledger, and have it on the disk before returning; one of each key.

        Returns:
            The line; the one that is there already where this refund was written before.

        Raises:
            RefundRefusedError: More than was paid, or *key* stands for another refund.
        """
        if amount > order.paid:
            raise RefundRefusedError(f"{order.paid:.2f} was paid for order {order.order}, less than {amount:.2f}")
        with self._ledger() as ledger:
            for line in _lines(ledger):
                if line.key == key:
                    if (line.order, line.amount) != (order.order, amount):
                        raise RefundRefusedError(f"{line.amount:.2f} was paid back already, for order {line.order}")
                    return line
            refund = Refund(order=order.order, amount=amount, key=key, run=run, call=call, at=datetime.now(UTC))
            os.write(ledger, refund.model_dump_json().encode() + b"\n")
            os.fsync(ledger)
            return refund

    @contextmanager
    def _ledger(self) -> Iterator[int]:
        """Open the ledger for one process at a time: between looking for a key and writing it nobody else writes it."""
        ledger = os.open(self.root / LEDGER, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(ledger, fcntl.LOCK_EX)
            yield ledger
        finally:
            os.close(ledger)


def _lines(ledger: int) -> list[Refund]:
    written = os.pread(ledger, os.fstat(ledger).st_size, 0)
    return [Refund.model_validate_json(line) for line in written.splitlines()]
