"""Reads docstrings in Google's style, for the page of public names."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEAD = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):$")
_ENTRY = re.compile(r"^    (?P<key>[*\w, `]+?): (?P<said>.*)$")


@dataclass(frozen=True)
class Sections:
    """What a docstring says.

    Attributes:
        summary: All in front of the first section, as Markdown.
        entries: Arguments and attributes, in order, each on one line that may stand in a table.
        raises: What is raised, likewise.
    """

    summary: str
    entries: dict[str, str]
    raises: dict[str, str]


def sections(text: str) -> Sections:
    """Take a docstring apart."""
    summary: list[str] = []
    found: dict[str, dict[str, str]] = {}
    section, key = "", ""
    for line in text.splitlines():
        if head := _HEAD.match(line):
            section, key = head[1], ""
            found.setdefault(section, {})
        elif not section:
            summary.append(line)
        elif entry := _ENTRY.match(line):
            key = entry["key"]
            found[section][key] = entry["said"]
        elif line.strip() and key:
            found[section][key] += f" {line.strip()}"
    named = found.get("Attributes", {}) | found.get("Args", {})
    return Sections(
        _markdown(summary),
        {name: _cell(said) for name, said in named.items()},
        {name: _cell(said) for name, said in found.get("Raises", {}).items()},
    )


def _markdown(lines: list[str]) -> str:
    """Paragraphs, with examples as blocks of code."""
    out: list[str] = []
    code = False
    for line in lines:
        if line.rstrip() == "::":
            continue
        indented = line.startswith("    ")
        if indented and not code:
            out.append("```py")
        if code and not indented and line.strip():
            out.insert(len(out) - (out[-1] == ""), "```")
        code = indented or (code and not line.strip())
        out.append(line[4:] if indented else line)
    if code:
        out.append("```")
    return "\n".join(out).strip().replace("``", "`").replace("`" + "`py", "```py").replace("\n`" + "`\n", "\n```\n")


def _cell(said: str) -> str:
    return said.replace("``", "`").replace("|", "\\|")
