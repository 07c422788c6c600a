"""Heartbeat details of a tool: the mark that its body was entered, its progress, and facts of the attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from temporalio import activity

from handfast.activities.runtime.redaction import hidden
from handfast.payloads.json_profile import JsonObject, scrub
from handfast.payloads.tool_call import PROGRESS_BYTES, Attempt, ToolOutcome, ToolProgress


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


ALIVE_S: Final = 0.5
"""Time for which the heartbeats of an `at_most_once` call keep their details; encoding takes as long again at most."""


class Begun:
    """The mark, and what follows it. It is the first detail of every heartbeat, so that none erases it."""

    def __init__(self, report: ProgressReport | None, *, at_most_once: bool) -> None:
        """Describe the attempt under way.

        Args:
            report: The tool's progress, where it may tell some.
            at_most_once: Also say every second that the attempt is alive: a person may want to know.
        """
        info = activity.info()
        self._attempt = Attempt(
            worker=activity.client().identity, attempt=info.attempt, started_at=info.started_time.astimezone(UTC)
        )
        self._report = report
        self._at_most_once = at_most_once

    @property
    def is_renewed(self) -> bool:
        """True while later heartbeats may say more."""
        return self._at_most_once or self._report is not None

    @property
    def attempt(self) -> Attempt:
        """The facts of the attempt that are known by now."""
        return self._attempt.model_copy(update={"alive_at": datetime.now(UTC)}) if self._at_most_once else self._attempt

    def details(self) -> Sequence[Any]:
        """Return the details of the next heartbeat."""
        newest = None if self._report is None else self._report.newest
        return [self.attempt.to_wire(), *([] if newest is None else [newest])]

    def told_by(self, ended: ToolOutcome) -> ToolOutcome:
        """Return an outcome of this attempt, with its facts where it is a doubt."""
        return ended.model_copy(update={"known": self.attempt}) if ended.kind == "unknown" else ended

    async def renewed(self) -> Sequence[Any]:
        """Wait for new facts; return the details of heartbeats from then on."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ALIVE_S if self._at_most_once else None):
                await (asyncio.Event().wait() if self._report is None else self._report.told())
        return self.details()
