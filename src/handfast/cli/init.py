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
_MODEL: Final = re.compile(r"[a-z][a-z0-9_-]*:[^\s\"'\\\\`]+")
_IMPORT: Final = re.compile(r"from (\S+) import ")


SCRIPT: Final = "script.json"
MODEL: Final = "gpt-5.6"
_PLAYED: Final = """\
script = "script.json" # plays the model in `handfast dev` while OPENAI_API_KEY is not set ...
first_run = { agent = "$module", input = "The mug of order 7 arrived broken. Please refund it." } # ... for this run
"""
_RUN_SCRIPTED: Final = """\
handfast dev        # a Temporal server, a worker, and a first run that waits for you
```

Without `OPENAI_API_KEY` the model is `script.json`; everything else is real, and the first line says so. \
Decide in a second
terminal, in this folder:

```bash"""
_RUN_NAMED: Final = """\
handfast dev        # a Temporal server, and a worker
```

The model is `$model`. In a second terminal, in this folder, start a run, which waits for you:

```bash
handfast start $module "The mug of order 7 arrived broken. Please refund it." --id first"""
_OTHER_SCRIPTED: Final = """\
With a key the model is the real one (`HANDFAST_MODEL` names another one than the agents do):

```bash
export OPENAI_API_KEY=...
handfast dev
handfast start $module "Order 7 arrived broken. Please refund it."
```
"""
_OTHER_NAMED: Final = """\
`HANDFAST_MODEL` names another model than the agents do, as in `openai:gpt-5.6`.
"""
_SCRIPT_ROW: Final = """\
| `script.json` | what the model says while there is no key; `handfast.testing` explains it |
"""


def init(name: str, *, model: str | None = None, as_json: bool) -> int:
    """Write the application *name* into a folder of that name, here.

    Args:
        name: Its name.
        model: What its agents ask, as ``PROVIDER:MODEL``; None: OpenAI's, and a script where there is no key.
        as_json: Write one document.

    Raises:
        InputError: The name cannot be one, or there is something already; nothing was written.
    """
    module = module_of(name)
    if model is not None and _MODEL.fullmatch(model) is None:
        raise exits.InputError(f"{model!r} names no model; name it as PROVIDER:MODEL, for example ollama:llama3.2")
    folder = Path(name)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise exits.InputError(f"{name} exists already and is not empty; take another name, or move it away")
        written = [_write(folder, path, text) for path, text in rendered(name, module, model).items()]
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


def rendered(name: str, module: str, model: str | None = None) -> dict[str, str]:
    """Render the files of an application, by path, in order."""
    given = {"name": name, "module": module, "version": version("handfast"), "model": model or MODEL}
    asked = 'os.environ.get("HANDFAST_MODEL") or DEFAULT_MODEL'
    varied = {
        "models": f"default_model={asked}" if model is None else f'models={{"default": {asked}}}',
        "played": _PLAYED if model is None else "",
        "run_it": _RUN_SCRIPTED if model is None else _RUN_NAMED,
        "first_run": "first-run" if model is None else "first",
        "other_model": _OTHER_SCRIPTED if model is None else _OTHER_NAMED,
        "script_row": _SCRIPT_ROW if model is None else "",
    }
    given |= {place: Template(text).substitute(given) for place, text in varied.items()}
    root = files("handfast.cli") / "template"
    found: dict[str, str] = {}
    for path in TEMPLATES:
        if path == SCRIPT and model is not None:
            continue
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
