"""Models that were unavailable a moment ago: the others are asked first."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Final

REST: Final = timedelta(minutes=5)
"""Time for which a model that was left is not asked first."""


class Outages:
    """The outages that one worker knows of."""

    def __init__(self) -> None:
        """Know of none."""
        self._until: dict[tuple[str, str], float] = {}

    def note(self, client: str, model: str, wait: timedelta | None) -> None:
        """Note that a model was left, which asked to *wait*."""
        rest = max(REST, wait or REST)
        self._until[client, model] = time.monotonic() + rest.total_seconds()

    def end(self, client: str, model: str) -> None:
        """Note that a model has answered."""
        self._until.pop((client, model), None)

    def holds(self, client: str, model: str) -> bool:
        """Return whether a model was left a moment ago."""
        return self._until.get((client, model), 0.0) > time.monotonic()
