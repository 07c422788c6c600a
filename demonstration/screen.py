"""Output of the demo: coloured by rich in a terminal, plain text in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Literal

Style = Literal["bold", "dim", "green", "yellow", "red", "cyan"]


class DemoError(Exception):
    """The demo cannot go on; its text is the one line that a person reads."""


class Screen:
    """Writes lines, and nothing else."""

    def __init__(self) -> None:
        try:
            from rich.console import Console  # noqa: PLC0415 - of the extra `cli`; plain text does without
        except ImportError:
            self._console = None
        else:
            self._console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)

    def line(self, text: str = "", style: Style | None = None, *, end: str = "\n") -> None:
        """Write one line at once."""
        if self._console is not None:
            self._console.print(text, style=style, end=end)
        else:
            sys.stdout.write(text + end)
        sys.stdout.flush()

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Write rows with aligned columns; the first row has the names of the columns."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for number, row in enumerate(rows):
            cells = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.line(f"  {cells}".rstrip(), "bold" if number == 0 else None)
