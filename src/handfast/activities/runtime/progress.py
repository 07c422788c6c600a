"""Passes a tool's progress, from any thread, to its heartbeats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from handfast.activities.runtime.hiding import hidden
from handfast.payloads.json_profile import JsonObject, scrub
from handfast.payloads.tool_call import PROGRESS_BYTES, ToolProgress


class ProgressReport:
    """The progress of one call: the newest wins."""

    def __init__(self, tool: str, call_id: str, heard: Callable[[ToolProgress], None] | None = None) -> None:
        """Begin without any, in the loop that will send it.

        Args:
            heard: Told at once, in that loop, of everything that the tool says.
        """
        self._heard = heard
        self._tool = tool
        self._call_id = call_id
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._newest: ToolProgress | None = None

    def tell(self, text: str, done: float | None, total: float | None) -> None:
        """Keep a tool's progress. Safe from any thread; forgotten once the call has ended."""
        short = hidden(scrub(text)).encode()[:PROGRESS_BYTES].decode(errors="ignore")
        told = self._newest = ToolProgress(
            tool=self._tool, call_id=self._call_id, text=short, done=done, total=total, at=datetime.now(UTC)
        )
        with suppress(RuntimeError):  # the loop is closed: the worker is gone
            self._loop.call_soon_threadsafe(self._take, told)

    def _take(self, told: ToolProgress) -> None:
        self._changed.set()
        if self._heard is not None:
            self._heard(told)

    @property
    def newest(self) -> JsonObject | None:
        """The progress that the tool told last, if any."""
        return None if self._newest is None else self._newest.to_wire()

    async def told(self) -> None:
        """Wait for new progress."""
        await self._changed.wait()
        self._changed.clear()
