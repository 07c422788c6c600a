"""Write a small application of the shape that Handfast's own has."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.machinery import PathFinder
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

from handfast.cli import exits
from handfast.cli.output import say, write_json

MODULE: Final = "application"
"""Stands for the module's own name among the templates."""
TEMPLATES: Final = (
    ".gitignore",
    "README.md",
    "activities/__init__.py",
    "activities/look_up_order.py",
    "activities/refund.py",
    "application.py",
    "pyproject.toml",
    "script.json",
    "tests/test_application.py",
    "worker.py",
    "workflows/__init__.py",
    "workflows/ticket.py",
)
_NAME: Final = re.compile(r"[a-z]([a-z0-9_-]{0,38}[a-z0-9])?")
_OURS: Final = frozenset({"activities", "conftest", "tests", "worker", "workflows"})
_IMPORT: Final = re.compile(r"from (\S+) import ")


def init(name: str, *, as_json: bool) -> int:
    """Write the application *name* into a folder of that name, here.

    Raises:
        InputError: The name cannot be one, or there is something already; nothing was written.
    """
    module = module_of(name)
    folder = Path(name)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise exits.InputError(f"{name} exists already and is not empty; take another name, or move it away")
        written = [_write(folder, path, text) for path, text in rendered(name, module).items()]
    except OSError as error:
        raise exits.InputError(f"{error.filename or name} cannot be written: {error.strerror or error}") from None
    if as_json:
        write_json({"application": name, "folder": str(folder.absolute()), "files": written})
        return exits.OK
    say(f"{name}: {len(written)} files written")
    for line in ("", "Next:", f"  cd {name}", "  handfast dev", "", f"Then see {name}/README.md."):
        say(line)
    return exits.OK


def module_of(name: str) -> str:
    """Derive the module's name from the application's.

    Raises:
        InputError: It gives none, or one that would hide another.
    """
    if _NAME.fullmatch(name) is None:
        raise exits.InputError(
            f"{name!r} cannot be a name: up to 40 small letters, digits, - and _, beginning with a letter and ending "
            "with a letter or digit"
        )
    module = name.replace("-", "_")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names:
        raise exits.InputError(f"{name} cannot be a name: {module} is Python's own; take another one")
    if module in _OURS:
        raise exits.InputError(f"{name} cannot be a name: a part of the application is called {module}")
    elsewhere = [entry for entry in sys.path if entry and Path(entry).resolve() != Path.cwd()]
    if PathFinder.find_spec(module, elsewhere) is not None:
        raise exits.InputError(f"{name} cannot be a name: an installed package is called {module}")
    return module


def rendered(name: str, module: str) -> dict[str, str]:
    """Render the files of an application, by path, in order."""
    given = {"name": name, "module": module, "version": version("handfast")}
    root = files("handfast.cli") / "template"
    found: dict[str, str] = {}
    for path in TEMPLATES:
        source = root.joinpath(f"{path.removeprefix('.')}.txt").read_text(encoding="utf-8")
        text = Template(source).substitute(given)
        found[path.replace(MODULE, module)] = _in_order(text) if path.endswith(".py") else text
    return found


def _in_order(source: str) -> str:
    """Sort neighbouring imports by module: where the application's own stands among them depends on its name."""
    lines = source.splitlines(keepends=True)
    begin = 0
    while begin < len(lines):
        end = begin
        while end < len(lines) and _IMPORT.match(lines[end]):
            end += 1
        lines[begin:end] = sorted(lines[begin:end])
        begin = end + 1
    return "".join(lines)


def _write(folder: Path, path: str, text: str) -> str:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text)
    return target.as_posix()
