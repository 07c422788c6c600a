"""Writes docs/api.md: every public name with the first sentence of its docstring. `make api` runs it."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import handfast
import handfast.testing

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "api.md"
GROUPS: Final = (
    ("Definitions", ("definitions.agents", "definitions.gates", "definitions.secret", "definitions.tools.question")),
    ("What tools are given and return", ("definitions.context", "definitions.tools.content")),
    ("Tools", ("definitions.tools",)),
    ("Model providers", ("models",)),
    ("Workflows", ("workflows",)),
    ("Workers and clients", ("client", "deltas", "encryption", "signing", "worker")),
    ("Errors", ("errors", "payloads.errors", "payloads.refusals")),
    ("What travels: requests, verdicts, results", ("payloads",)),
)
HEAD: Final = """\
# Public names

All that `from handfast import …` gives, with what its docstring says first; `help(name)` has the rest. `make api`
makes this page, and a test fails when it is out of date. What is on no list here is private, but for the documented
submodules `handfast.worker`, `handfast.connection`, `handfast.server`, `handfast.errors` and
`handfast.payloads.events`.
"""


def home(module: ModuleType, name: str) -> str:
    """The module that a name comes from, below the package."""
    value = getattr(module, name)
    if value is Any:
        return str(module._HOMES[name])
    return str(getattr(value, "__module__", "")).removeprefix("handfast.")


def alias_doc(place: str, name: str) -> str:
    """The docstring below an alias, which no object has."""
    source = Path(str(import_module(f"handfast.{place}").__file__)).read_text()
    body = ast.parse(source).body
    at = next(i for i, each in enumerate(body) if isinstance(each, ast.AnnAssign) and ast.unparse(each.target) == name)
    below = body[at + 1]
    assert isinstance(below, ast.Expr)
    assert isinstance(below.value, ast.Constant)
    return str(below.value.value)


def kind(value: object) -> str:
    """What a reader may do with it."""
    if value is Any:
        return "type"
    if inspect.isclass(value):
        if issubclass(value, Exception):
            return "error"
        if issubclass(value, Enum):
            return "enum"
        return "data" if dataclasses.is_dataclass(value) or hasattr(value, "model_fields") else "class"
    return "function" if callable(value) else "value"


def first_sentence(module: ModuleType, name: str) -> str:
    """The first sentence of a name's docstring, on one line."""
    value = getattr(module, name)
    said = alias_doc(home(module, name), name) if value is Any else inspect.getdoc(value) or ""
    text = " ".join(said.split("\n\n", maxsplit=1)[0].split())
    sentence = text.split(". ")[0].rstrip(".")
    return sentence.replace("|", "\\|")


def group_of(place: str) -> str:
    """The heading under which a name stands."""
    for heading, prefixes in GROUPS:
        if place.startswith(prefixes):
            return heading
    raise AssertionError(f"{place} belongs to no group of GROUPS")


def page() -> str:
    """The page."""
    rows: dict[str, list[str]] = {heading: [] for heading, _ in GROUPS}
    for name in handfast.__all__:
        what = f"{kind(getattr(handfast, name))} | {first_sentence(handfast, name)}"
        rows[group_of(home(handfast, name))].append(f"| `{name}` | {what} |")
    parts = [HEAD]
    for heading, lines in rows.items():
        parts += [f"\n## {heading}\n", "| name | | |", "|---|---|---|", *lines]
    lines = []
    for name in handfast.testing.__all__:
        what = f"{kind(getattr(handfast.testing, name))} | {first_sentence(handfast.testing, name)}"
        lines.append(f"| `{name}` | {what} |")
    parts += ["\n## For tests: `handfast.testing`\n", "| name | | |", "|---|---|---|", *lines]
    return "\n".join(parts) + "\n"


def main() -> int:
    """Write the page."""
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
