"""What every request of a run shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Asker:
    """Whose requests they are, and what makes them.

    Attributes:
        patched: Whether a request is shaped by a rule that histories from before know nothing of.
    """

    workflow_id: str
    workflow_run: str
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    patched: Callable[[str], bool]
