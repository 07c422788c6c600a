"""Reads the deltas of one run from wherever they are kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter

from handfast.deltas.stream import DeltaStream, position_of
from handfast.payloads.deltas import Delta, DeltasDiscarded, read_record
from handfast.payloads.undecodable import Undecodable

logger = logging.getLogger(__name__)

PAUSES_S: Final = (0.1, 0.25, 0.5, 1.0, 2.0)
"""Before a stream that failed is asked again; then the last of them."""


@dataclass(frozen=True, order=True)
class Position:
    """Where a record stands in the stream of its run: the entry, and its number in that."""

    entry: tuple[int, int]
    number: int

    def __str__(self) -> str:
        return f"{self.entry[0]}-{self.entry[1]}.{self.number}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read a position.

        Raises:
            ValueError: It is none.
        """
        entry, _, number = text.partition(".")
        return cls(position_of(entry), int(number))


Told = tuple[Position, Delta | DeltasDiscarded]


class DeltaReader:
    """Reads on and on. A stream that is away, or holds what cannot be read, has nothing to tell.

    Attributes:
        away: The last try failed.
    """

    def __init__(self, stream: DeltaStream, run: str, converter: DataConverter, tell: Callable[[Told], None]) -> None:
        """Name the run; *tell* gets each record, in order, once."""
        self.away = False
        self._stream = stream
        self._run = run
        self._converter = converter
        self._tell = tell
        self._entry: str | None = None
        self._failures = 0
        self._unreadable = False

    async def more(self, wait_s: float = 0.0) -> bool:
        """Read what comes next; whether anything did.

        Args:
            wait_s: How long to wait for something; 0 takes what is there.
        """
        try:
            entries = await self._stream.read(self._run, self._entry, wait_s)
        except Exception as error:  # noqa: BLE001 - whatever a stream raises: the events go on without
            self._failed(error)
            if wait_s:
                await asyncio.sleep(min(wait_s, PAUSES_S[min(self._failures, len(PAUSES_S)) - 1]))
            return False
        self.away, self._failures = False, 0
        for name, entry in entries:
            records = await self._decoded(entry)
            # Another read may have been here meanwhile.
            if self._entry is None or position_of(name) > position_of(self._entry):
                self._entry = name
                for number, record in enumerate(records):
                    if record is not None:
                        self._tell((Position(position_of(name), number), record))
        return bool(entries)

    async def _decoded(self, entry: bytes) -> list[Delta | DeltasDiscarded | None]:
        try:
            [values] = await self._converter.decode([Payload.FromString(entry)])
        except Exception as error:  # noqa: BLE001 - a codec of the user's, or an entry of somebody else's
            self._left_out(type(error).__name__)
            return []
        if isinstance(values, Undecodable):
            self._left_out(values.problem)
        return [read_record(value) for value in values] if isinstance(values, list) else []

    def _left_out(self, problem: str) -> None:
        if not self._unreadable:
            logger.warning("some deltas of %s are left out: they cannot be read (%s)", self._run, problem)
        self._unreadable = True

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self.away = True
        if self._failures == 1:
            logger.warning("deltas of %s cannot be read (%s); its events go on", self._run, type(error).__name__)
