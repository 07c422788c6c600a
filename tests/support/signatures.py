"""Signatures as the source has them: with the names of types that a reader can look up."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import handfast
from support import docstring

WIDTH = 110
SOURCE = Path(handfast.__file__).parent


def of(value: Any) -> list[str]:
    """How a name is called, or constructed."""
    if not inspect.isclass(value):
        return _shown(value.__name__, _function(value))
    made = next(
        (vars(each)["__init__"] for each in _ours(value) if isinstance(vars(each).get("__init__"), FunctionType)), None
    )
    if made is not None and Path(inspect.getfile(made)).is_relative_to(SOURCE):
        return _shown(value.__name__, _function(made), skip=1)
    fields = _fields(value)
    if not fields:
        return [f"class {value.__name__}"]
    return [f"{value.__name__}(", *(f"    {field}," for field in fields), ")"]


def methods(kind: type) -> list[tuple[list[str], str]]:
    """The public methods and properties of a class, each with the start of its docstring and what it raises."""
    found: dict[str, tuple[list[str], str]] = {}
    for each in _ours(kind):
        for name, value in vars(each).items():
            if name.startswith("_") or name in found:
                continue
            plain = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if not isinstance(plain, FunctionType) or not Path(inspect.getfile(plain)).is_relative_to(SOURCE):
                continue
            text = docstring.sections(inspect.getdoc(plain) or "")
            if not text.summary:
                continue
            node = _function(plain)
            if isinstance(value, property):
                shown = [f"{kind.__name__}.{name}" + (f" -> {_source(node.returns)}" if node.returns else "")]
            else:
                shown = _shown(f"{kind.__name__}.{name}", node, skip=0 if isinstance(value, staticmethod) else 1)
            raised = "".join(f" Raises `{error}`: {why}" for error, why in text.raises.items())
            found[name] = (shown, text.summary.split("\n\n")[0] + raised)
    return list(found.values())


def names_in(text: str) -> set[str]:
    """Every capitalised word: what may name a type."""
    return set(re.findall(r"\b[A-Z]\w+\b", text))


@cache
def aliases() -> dict[str, str]:
    """The right-hand side of each type alias of the package, by name; one name stands for one type."""
    found: dict[str, str] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        if "cli" in path.parts or "activities" in path.parts:
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.AnnAssign) and _source(node.annotation) == "TypeAlias" and node.value is not None:
                found.setdefault(_source(node.target), _source(node.value))
            elif isinstance(node, ast.Assign) and _source(node.value).startswith(("Literal[", "Annotated[")):
                found.setdefault(_source(node.targets[0]), _source(node.value))
    return {name: value for name, value in found.items() if not name.startswith("_")}


def _source(node: ast.AST) -> str:
    """An expression as it is written here: with double quotes."""
    return re.sub(r"'([^'\"\\\\]*)'", r'"\1"', ast.unparse(node))


def _ours(kind: type) -> Iterator[type]:
    return (each for each in kind.__mro__ if each.__module__.startswith("handfast"))


def _function(value: Any) -> ast.FunctionDef | ast.AsyncFunctionDef:
    node = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef), value
    return node


def _shown(name: str, node: ast.FunctionDef | ast.AsyncFunctionDef, skip: int = 0) -> list[str]:
    """The head of a function, on one line where it fits."""
    arguments = node.args
    if skip:
        (arguments.posonlyargs or arguments.args).pop(0)
    returns = f" -> {_source(node.returns)}" if node.returns is not None and not name.endswith("__init__") else ""
    returns = "" if returns == " -> None" and name[0].isupper() and "." not in name else returns
    prefix = "await " if isinstance(node, ast.AsyncFunctionDef) and "AsyncIterator" not in returns else ""
    line = f"{prefix}{name}({', '.join(_each(arguments))}){returns}"
    if len(line) <= WIDTH:
        return [line]
    return [f"{prefix}{name}(", *(f"    {each}," for each in _each(arguments)), f"){returns}"]


def _each(arguments: ast.arguments) -> list[str]:
    """Each argument as the source has it, with the marks between them."""
    places = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(places) - len(arguments.defaults)) + list(arguments.defaults)
    out = [_one(each, default) for each, default in zip(places, defaults, strict=True)]
    if arguments.posonlyargs:
        out.insert(len(arguments.posonlyargs), "/")
    if arguments.vararg is not None:
        out.append(f"*{_source(arguments.vararg)}")
    elif arguments.kwonlyargs:
        out.append("*")
    out += [_one(each, default) for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    if arguments.kwarg is not None:
        out.append(f"**{_source(arguments.kwarg)}")
    return out


def _one(argument: ast.arg, default: ast.expr | None) -> str:
    return _source(argument) + (f" = {_source(default)}" if default is not None else "")


def _fields(kind: type) -> list[str]:
    """The fields of a dataclass or a payload, those of its bases first; ``*`` stands before what is named."""
    if issubclass(kind, Exception):
        return []
    found: dict[str, str] = {}
    parameters = inspect.signature(kind).parameters
    for each in reversed(list(_ours(kind))):
        body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
        assert isinstance(body, ast.ClassDef)
        for node in body.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id in parameters:
                found[node.target.id] = _field(node)
    out = [found[name] for name in parameters if name in found]
    named = [at for at, name in enumerate(found) if parameters[name].kind is inspect.Parameter.KEYWORD_ONLY]
    if named:
        out.insert(named[0], "*")
    return out


def _field(node: ast.AnnAssign) -> str:
    """A field as one would write the argument: with the default that a maker of fields holds."""
    annotation, value = node.annotation, node.value
    if isinstance(annotation, ast.Subscript) and _source(annotation.value) == "_Kept":
        assert isinstance(annotation.slice, ast.Tuple)
        annotation = annotation.slice.elts[0]
    if isinstance(value, ast.Call) and _source(value.func) in ("field", "Field", "_Kept"):
        given = {each.arg: each.value for each in value.keywords}
        factory = given.get("default_factory")
        made = ast.parse(f"{_source(factory)}()", mode="eval").body if factory is not None else None
        value = made or given.get("default") or (value.args[0] if value.args else None)
    shown = f"{_source(node.target)}: {_source(annotation)}"
    return shown if value is None else f"{shown} = {_source(value)}"
