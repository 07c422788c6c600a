"""Make rich text for people, which is plain text where no terminal reads it."""

from __future__ import annotations

import sys
from typing import Final

from rich.console import Console
from rich.text import Text

from handfast.cli.output import one_line

PIPED_WIDTH: Final = 240
"""Wide enough that a line of a list stays one line for `grep`."""


def console(*, stderr: bool = False) -> Console:
    """Return a console that colours nothing, and wraps late, where no terminal reads."""
    stream = sys.stderr if stderr else sys.stdout
    terminal = stream.isatty()
    return Console(
        file=stream,
        width=None if terminal else PIPED_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


def cell(text: object, style: str = "") -> Text:
    """Return a table cell that shows *text* as it is, markup and control characters included."""
    return Text(one_line(str(text)), style=style, overflow="fold")
