"""Outputs that are kept outside the history."""

from __future__ import annotations

from pathlib import Path

MEGABYTES = "".join(f"line {number:07d}: größe {number % 97}\n" for number in range(210_000))
"""A log of 5 MB, no two lines of it alike."""


def stored(folder: Path) -> dict[str, bytes]:
    """What is kept in *folder*, by name."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
