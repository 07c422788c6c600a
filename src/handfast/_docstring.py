"""What a Google-style docstring tells a model: the description, and a line for each parameter."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import Final

__all__ = ["ParsedDocstring", "parse_docstring"]

_ARGUMENTS_HEADER: Final = re.compile(r"(Args|Arguments|Parameters):\s*")
_ENTRY: Final = re.compile(r"(?P<name>\w+)\s*(\(.*?\))?\s*:\s*(?P<text>.*)")


@dataclass(frozen=True, slots=True)
class ParsedDocstring:
    """The text without its ``Args:`` section, and that section by parameter name."""

    description: str
    parameters: dict[str, str]


def parse_docstring(docstring: str | None) -> ParsedDocstring:
    """Split *docstring*; without one, everything is empty."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    header = next((i for i, line in enumerate(lines) if _ARGUMENTS_HEADER.fullmatch(line)), None)
    if header is None:
        return ParsedDocstring("\n".join(lines).strip(), {})
    end = next((i for i in range(header + 1, len(lines)) if lines[i] and not lines[i][0].isspace()), len(lines))
    before = "\n".join(lines[:header]).rstrip()
    after = "\n".join(lines[end:]).strip()
    return ParsedDocstring(f"{before}\n\n{after}".strip(), _entries(lines[header + 1 : end]))


def _entries(lines: list[str]) -> dict[str, str]:
    filled = [line for line in lines if line.strip()]
    entry_indent = min((_indent(line) for line in filled), default=0)
    texts: dict[str, list[str]] = {}
    current: list[str] = []
    for line in filled:
        entry = _ENTRY.fullmatch(line.strip()) if _indent(line) == entry_indent else None
        if entry:
            current = texts.setdefault(entry["name"], [])
        current.append(entry["text"] if entry else line.strip())
    return {name: " ".join(part for part in parts if part) for name, parts in texts.items()}


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
