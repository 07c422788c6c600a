"""Heartbeat details of a tool: the mark that its body was entered, and facts of the attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from temporalio import activity

from handfast.activities.runtime.progress import ProgressReport
from handfast.payloads.tool_call import Attempt, ToolOutcome

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
