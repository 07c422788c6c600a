"""Read the deltas of one run from its stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter

from handfast.deltas.stream import DeltaStream, position_of
from handfast.payloads.base import Undecodable
from handfast.payloads.deltas import Delta, DeltasDiscarded, read_record

logger = logging.getLogger(__name__)

PAUSES_S: Final = (0.1, 0.25, 0.5, 1.0, 2.0)
"""Pauses before a failed stream is read again; the last one repeats."""


@dataclass(frozen=True, order=True)
class Position:
    """Position of a record in the stream of its run: the entry, and the record's number in it."""

    entry: tuple[int, int]
    number: int

    def __str__(self) -> str:
        return f"{self.entry[0]}-{self.entry[1]}.{self.number}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read a position.

        Raises:
            ValueError: *text* is no position.
        """
        entry, _, number = text.partition(".")
        return cls(position_of(entry), int(number))


Told = tuple[Position, Delta | DeltasDiscarded]


class DeltaReader:
    """Reads a stream from its beginning on. An unavailable stream and unreadable entries yield no records, no error.

    Attributes:
        away: True where the last read failed.
    """

    def __init__(self, stream: DeltaStream, run: str, converter: DataConverter, tell: Callable[[Told], None]) -> None:
        """Call *tell* with each record of the run, in order, once."""
        self.away = False
        self._stream = stream
        self._run = run
        self._converter = converter
        self._tell = tell
        self._entry: str | None = None
        self._failures = 0
        self._unreadable = False

    async def more(self, wait_s: float = 0.0) -> bool:
        """Read the next entries; return True where there were any.

        Args:
            wait_s: Time to wait for an entry; 0 takes those that are there.
        """
        try:
            entries = await self._stream.read(self._run, self._entry, wait_s)
        except Exception as error:  # noqa: BLE001 - a stream may raise anything, and the events go on without it
            self._failed(error)
            if wait_s:
                await asyncio.sleep(min(wait_s, PAUSES_S[min(self._failures, len(PAUSES_S)) - 1]))
            return False
        self.away, self._failures = False, 0
        for name, entry in entries:
            records = await self._decoded(entry)
            # A concurrent read may have told them meanwhile.
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
