"""Deltas in Redis Streams: between machines. Importing this needs the extra ``redis``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from handfast.errors import DefinitionError
from handfast.payloads.deltas import MOST_ENTRIES

__all__ = ["RedisDeltas"]

PREFIX: Final = "handfast:deltas:"
"""Prefix of the run id in a key; keys tell nothing else of a run."""
KEPT: Final = timedelta(hours=1)
CONNECT_S: Final = 2.0
ANSWER_S: Final = 2.0
"""Limit for a command, beside the time that it waits for entries."""
PAGE: Final = 200
_FIELD: Final = b"d"


class RedisDeltas:
    """A Redis stream for each run, which Redis trims and expires. Connections open on first use."""

    def __init__(self, url: str, *, most_entries: int = MOST_ENTRIES, kept: timedelta = KEPT) -> None:
        """Take the address, without connecting.

        Args:
            url: Address as ``redis://user:password@host:6379/0``, ``rediss://…`` or ``unix://…``.
            most_entries: Approximate limit of entries for one run; the oldest go first.
            kept: Time after its latest entry at which a run's stream expires.

        Raises:
            DefinitionError: *url* is no URL of Redis.
        """
        try:
            self._redis: Any = Redis.from_url(
                url,
                socket_connect_timeout=CONNECT_S,
                socket_timeout=None,  # a read waits as long as it says; the others are bounded here
                retry=Retry(NoBackoff(), 0),
                health_check_interval=0,
            )
        except ValueError:
            raise DefinitionError("deltas", "it is no URL of Redis, as redis://host:6379/0") from None
        self._most = most_entries
        self._kept_s = int(kept.total_seconds())

    async def publish(self, run: str, entry: bytes) -> None:
        """See `DeltaStream`."""
        key = PREFIX + run
        async with asyncio.timeout(ANSWER_S), self._redis.pipeline(transaction=False) as pipe:
            pipe.xadd(key, {_FIELD: entry}, maxlen=self._most, approximate=True)
            pipe.expire(key, self._kept_s)
            await pipe.execute()

    async def read(self, run: str, after: str | None, wait_s: float) -> Sequence[tuple[str, bytes]]:
        """See `DeltaStream`."""
        block = {"block": max(1, round(wait_s * 1000))} if wait_s > 0 else {}
        async with asyncio.timeout(wait_s + ANSWER_S):
            found = await self._redis.xread({PREFIX + run: after or "0-0"}, count=PAGE, **block)
        return [
            (position.decode(), fields[_FIELD])
            for _, entries in (found.items() if isinstance(found, dict) else found or ())
            for position, fields in entries
            if _FIELD in fields
        ]

    async def close(self) -> None:
        """See `DeltaStream`."""
        await self._redis.aclose()
