"""What every request of a run shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Asker:
    """Whose requests they are, and what makes them."""

    workflow_id: str
    workflow_run: str
    now: Callable[[], datetime]
    new_id: Callable[[], str]
