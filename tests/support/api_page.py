"""Writes docs/api.md: every public name with its signature, types, and what its docstring says. `make api` runs it."""

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
from support import docstring, signatures

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
# API

All that `from handfast import …` and `from handfast.testing import …` give, with signatures and types. `make api`
makes this page from the code, and a test fails when it is out of date. What is on no list here is private, but for the
documented submodules `handfast.worker`, `handfast.connection`, `handfast.server`, `handfast.errors` and
`handfast.payloads.events`. [Errors](errors.md) and [events](events.md) have pages of their own, and
`handfast.sync` has the methods of `Handfast`, `Run`, `Session` and `Turn`
[without `await`](runs.md#scripts-and-notebooks).
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
    entries: dict[str, list[tuple[ModuleType, str]]] = {heading: [] for heading, _ in GROUPS}
    for name in handfast.__all__:
        entries[group_of(home(handfast, name))].append((handfast, name))
    entries["For tests: `handfast.testing`"] = [(handfast.testing, name) for name in handfast.testing.__all__]
    parts = [HEAD]
    for heading, names in entries.items():
        linked = " · ".join(f"[`{name}`](#{anchor(heading, name)})" for _, name in names)
        parts += [f"\n## {heading}\n", linked]
        parts += [entry(module, name, anchor(heading, name)) for module, name in names]
    used = "\n".join(parts)
    parts += ["\n## Types\n", "What stands for a longer type above:\n", "```py", *alias_lines(used), "```"]
    return "\n".join(parts) + "\n"


def anchor(heading: str, name: str) -> str:
    """Where a name stands; `handfast.testing` has namesakes of public names."""
    return f"testing-{name}" if "testing" in heading else f"api-{name}"


def entry(module: ModuleType, name: str, at: str) -> str:
    """One name: its signature, what it is, its arguments and fields, its methods."""
    value = getattr(module, name)
    title = f'\n<a id="{at}"></a>\n\n### {name}\n'
    if value is Any:
        return f"{title}\n{first_sentence(module, name)}."
    text = docstring.sections(inspect.getdoc(value) or "")
    lines = [title, "```py", *signatures.of(value), "```", "", text.summary]
    told = dict(text.entries)
    if inspect.isclass(value) and (made := vars(value).get("__init__")) is not None:
        told |= dict(docstring.sections(inspect.getdoc(made) or "").entries)
    if told:
        lines += ["", "| | |", "|---|---|", *(f"| `{key}` | {said} |" for key, said in told.items())]
    methods = signatures.methods(value) if inspect.isclass(value) and not issubclass(value, Exception) else []
    for shown, said in methods:
        lines += ["", "```py", *shown, "```", "", said]
    return "\n".join(lines)


def alias_lines(used: str) -> list[str]:
    """The definitions of all aliases that *used* names, and of those that these name."""
    known = signatures.aliases()
    wanted: dict[str, str] = {}
    left = used
    while found := {name for name in signatures.names_in(left) if name in known and name not in wanted}:
        wanted |= {name: known[name] for name in found}
        left = "\n".join(known[name] for name in found)
    return [f"{name} = {wanted[name]}" for name in sorted(wanted)]


def main() -> int:
    """Write the page."""
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
