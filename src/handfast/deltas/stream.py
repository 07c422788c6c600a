"""The port of a stream of deltas, a stream in memory, and streams by their URL."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

from handfast.deltas.local import SCHEME, LocalDeltas
from handfast.errors import DefinitionError
from handfast.payloads.deltas import MOST_ENTRIES

__all__ = ["DeltaStream", "InProcessDeltas", "delta_stream"]

MOST_RUNS: Final = 1000


@runtime_checkable
class DeltaStream(Protocol):
    """Keeps the latest deltas of runs for a while. It may lose any: the history has the whole reply.

    An entry is opaque: some deltas as the data converter and codec of the worker's client encoded them.
    """

    async def publish(self, run: str, entry: bytes) -> None:
        """Append an entry to those of a run.

        Raises:
            Exception: An error of the medium. The entry is lost, and the next one is tried again.
        """

    async def read(self, run: str, after: str | None, wait_s: float) -> Sequence[tuple[str, bytes]]:
        """Return some entries of a run, oldest first, each with its position.

        Args:
            run: Id of the run.
            after: Position after which to read; None begins with the oldest entry that is still there.
            wait_s: Time to wait for an entry where there is none yet.

        Returns:
            Positions are two numbers joined by a dash, as in Redis Streams, and only ever grow.

        Raises:
            Exception: An error of the medium.
        """

    async def close(self) -> None:
        """Close the connections; the next call opens new ones."""


class InProcessDeltas:
    """Keeps deltas in memory: for tests, and for a worker and its watchers that share a process and event loop."""

    def __init__(self) -> None:
        """Begin empty."""
        self._runs: OrderedDict[str, deque[tuple[int, bytes]]] = OrderedDict()
        self._last = 0
        self._changed = asyncio.Event()

    async def publish(self, run: str, entry: bytes) -> None:
        """See `DeltaStream`."""
        entries = self._runs.setdefault(run, deque(maxlen=MOST_ENTRIES))
        self._runs.move_to_end(run)
        if len(self._runs) > MOST_RUNS:
            self._runs.popitem(last=False)
        self._last += 1
        entries.append((self._last, entry))
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def read(self, run: str, after: str | None, wait_s: float) -> Sequence[tuple[str, bytes]]:
        """See `DeltaStream`."""
        seen = position_of(after)[0] if after is not None else 0
        give_up_at = asyncio.get_running_loop().time() + wait_s
        while True:
            changed = self._changed
            found = [(f"{number}-0", entry) for number, entry in self._runs.get(run, ()) if number > seen]
            if found or asyncio.get_running_loop().time() >= give_up_at:
                return found
            try:
                async with asyncio.timeout_at(give_up_at):
                    await changed.wait()
            except TimeoutError:
                return []

    async def close(self) -> None:
        """See `DeltaStream`. There are no connections."""


def position_of(text: str) -> tuple[int, int]:
    """Parse a position into numbers that compare.

    Raises:
        ValueError: *text* is no position.
    """
    first, _, second = text.partition("-")
    return int(first), int(second)


def delta_stream(where: str | DeltaStream, who: str = "HandfastPlugin") -> DeltaStream:
    """Return the stream at a URL, or the given one.

    Raises:
        DefinitionError: *where* is no stream, or the extra ``redis`` is not installed.
    """
    if not isinstance(where, str):
        if isinstance(where, DeltaStream):
            return where
        raise DefinitionError(who, "deltas must be a URL as redis://host:6379/0, or a DeltaStream")
    scheme = where.partition("://")[0]
    if scheme == SCHEME:
        return LocalDeltas(where)
    if scheme not in ("redis", "rediss", "unix"):
        raise DefinitionError(who, "deltas must be a URL of Redis: redis://…, rediss://… or unix://…")
    try:
        from handfast.deltas.redis import RedisDeltas  # noqa: PLC0415 - needs an optional extra
    except ImportError:
        raise DefinitionError(who, "deltas in Redis need its client; install 'handfast[redis]'") from None
    return RedisDeltas(where)
