"""A place to stand still in the middle of a tool, so that a crash there can be shown and tested at will."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final, Literal

VARIABLE: Final = "DESK_PAUSE"
"""``before:FILE`` or ``after:FILE``. Nothing ever pauses where it is not set, which is everywhere but in the demo."""
LONGEST_S: Final = 60.0
_LOOK_EVERY_S: Final = 0.02


def pause(point: Literal["before", "after"]) -> None:
    """Stand still at *point* of an effect, if ``DESK_PAUSE`` asks for it.

    The tool says that it stands there by making FILE, and goes on when someone removes it, or after a minute.
    """
    where, _, name = os.environ.get(VARIABLE, "").partition(":")
    if where != point or not name:
        return
    file = Path(name)
    file.touch()
    give_up_at = time.monotonic() + LONGEST_S
    while file.exists() and time.monotonic() < give_up_at:
        time.sleep(_LOOK_EVERY_S)
