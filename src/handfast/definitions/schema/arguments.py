"""Check the arguments of public functions against their annotations, and say in one sentence what is wrong."""

from __future__ import annotations

import builtins
import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from handfast.errors import DefinitionError, UsageError

C = TypeVar("C", bound=type)
P = ParamSpec("P")
R = TypeVar("R")

_NOUNS: Final[Mapping[object, str]] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "True or False",
    timedelta: "a timedelta",
    datetime: "a datetime",
    BaseModel: "a pydantic model",
    dict[str, Any]: "a JSON object (a dict)",
    Mapping[str, Collection[str]]: "a mapping of lists, such as {'finance': ['ann']}",
    Mapping[str, str]: "a mapping of strings, such as {'team': 'billing'}",
}
_MADE_BY: Final = {"Tool": "a Tool (made with @tool)"}
_SHOWN: Final = 40


class Unset:
    """The type of `UNSET`."""


UNSET: Final = Unset()
"""Stands for an argument that was not given, where None says something."""


def checked_methods(cls: C) -> C:
    """Decorate a class: its constructor and public methods raise `UsageError` for an argument of a wrong type."""
    for name, member in list(vars(cls).items()):
        function = member.__func__ if isinstance(member, classmethod) else member
        if inspect.isfunction(function) and (name == "__init__" or not name.startswith("_")):
            made = checked(function)
            setattr(cls, name, classmethod(made) if isinstance(member, classmethod) else made)
    return cls


def checked(function: Callable[P, R], error: Callable[[str, str], Exception] = UsageError) -> Callable[P, R]:
    """Decorate a function: it raises for an argument that does not fit its annotation.

    Args:
        function: A function, or a method in its class.
        error: Makes the error of the function's name and of what is wrong.
    """
    arguments = Arguments(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        problem = arguments.problem(args, kwargs)
        if problem is not None:
            raise error(_called(function, args), problem)
        return function(*args, **kwargs)

    if not inspect.iscoroutinefunction(function):
        return call

    @functools.wraps(function)
    async def call_async(*args: P.args, **kwargs: P.kwargs) -> Any:
        return await call(*args, **kwargs)  # type: ignore[misc]  # R is a coroutine here

    return call_async  # type: ignore[return-value]  # likewise


def checked_definition(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate as `checked` does; the error is a `DefinitionError`."""
    return checked(function, DefinitionError)


def _called(function: Callable[..., Any], args: Sequence[Any]) -> str:
    """Name a function as its caller knows it: a method by the class of its object."""
    owner, dot, name = function.__qualname__.rpartition(".")
    if not dot or owner.endswith("<locals>"):
        return function.__name__
    cls = args[0] if isinstance(args[0], type) else type(args[0])
    return cls.__name__ if name == "__init__" else f"{cls.__name__}.{name}"


class Arguments:
    """The parameters of one function, with their types."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Read the signature; annotations are looked at when the function is first called."""
        self._function = function
        self._signature = inspect.signature(function)

    def problem(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        """Say which argument does not fit, and how; None where all do, or where the call itself will fail."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError:
            return None  # Python's own text names the parameter
        for name, value in bound.arguments.items():
            hint = self.types.get(name, Any)
            kind = self._signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL or kind is inspect.Parameter.VAR_KEYWORD:
                continue
            problem = problem_of(name, value, hint)
            if problem is not None:
                return problem
        return None

    @functools.cached_property
    def types(self) -> Mapping[str, Any]:
        """The type of each parameter, as it is annotated."""
        return get_type_hints(self._function, localns=_Names(self._function.__globals__))


class _Anything:
    def __class_getitem__(cls, _: Any) -> type[_Anything]:
        return cls


class _Names(dict[str, Any]):
    """The names of a module; one that is imported for type checkers alone stands for anything."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, _Anything)


def is_list(value: object) -> bool:
    """Tell a list from a single value; a set or the values of a dict will do as well."""
    return isinstance(value, Collection) and not isinstance(value, Mapping | str | bytes)


def problem_of(name: str, value: object, hint: Any) -> str | None:
    """Say what is wrong with the argument *name*; None where its value fits the annotation."""
    hints = _members(hint)
    if any(_fits(value, each) for each in hints):
        return None
    for each in hints:
        inner = _problem_inside(name, value, each)
        if inner is not None:
            return inner
    wanted = _alternatives(_noun(each) for each in hints if each not in (NoneType, Unset))
    return f"{name} must be {wanted}, not {_given(value, hints)}{_advice(value, hints)}"


def _members(hint: Any) -> tuple[Any, ...]:
    """Take a union apart."""
    if get_origin(hint) is Annotated:
        return _members(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return tuple(each for member in get_args(hint) for each in _members(member))
    return (hint,)


def _fits(value: object, hint: Any) -> bool:
    origin, parts = get_origin(hint) or hint, get_args(hint)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in parts)
    if not isinstance(origin, type) or origin in (Any, object, _Anything):
        return True
    if not _is_instance(value, origin):
        return False
    return not parts or _problem_inside("", value, hint) is None


def _is_instance(value: object, kind: type) -> bool:
    if isinstance(value, bool) and kind in (int, float):
        return False
    if isinstance(value, str | bytes) and issubclass(kind, Iterable) and kind not in (str, bytes):
        return False  # a string is a sequence of strings, and never meant so
    if kind is Sequence:
        return is_list(value)
    try:
        return isinstance(value, float | int if kind is float else kind)
    except TypeError:
        return True  # a protocol that cannot be looked for at run time


def _problem_inside(name: str, value: object, hint: Any) -> str | None:
    """Say which element does not fit where the container itself does; an iterator is not used up for it."""
    origin, parts = get_origin(hint), get_args(hint)
    if not isinstance(origin, type) or not _is_instance(value, origin):
        return None
    if isinstance(value, Mapping) and issubclass(origin, Mapping):
        keys, values = parts
        for key, each in value.items():
            if not any(_fits(key, one) for one in _members(keys)):
                return f"a key of {name} must be {_noun(keys)}, not {_given(key, ())}"
            if (problem := problem_of(f"{name}[{_short(key)}]", each, values)) is not None:
                return problem
    elif isinstance(value, Collection) and issubclass(origin, Iterable):
        for index, each in enumerate(value):
            if (problem := problem_of(f"{name}[{index}]", each, parts[0])) is not None:
                return problem
    return None


def _noun(hint: Any) -> str:
    """Name what is wanted."""
    if hint in _NOUNS:
        return _NOUNS[hint]
    origin, parts = get_origin(hint) or hint, get_args(hint)
    if origin is Literal:
        return _alternatives(repr(each) for each in parts)
    if origin is Callable:
        return "a function"
    if origin is type:
        return "a class"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a mapping"
    if isinstance(origin, type) and issubclass(origin, Iterable) and parts:
        return f"a list of {_alternatives(map(_plural, _members(parts[0])))}"
    name = getattr(origin, "__name__", str(origin))
    return _MADE_BY.get(name) or _with_article(name)


def _plural(hint: Any) -> str:
    if hint is str:
        return "strings"
    if get_origin(hint) is Callable:
        return "functions"
    if hint == dict[str, Any] or (isinstance(get_origin(hint), type) and issubclass(get_origin(hint), Mapping)):
        return "dicts"
    return f"{getattr(hint, '__name__', hint)} objects"


def _given(value: object, hints: Iterable[Any]) -> str:
    """Name what was given. Texts may be anybody's data: only one that should be a choice is repeated."""
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, int | float):
        return f"{value!r} ({_with_article(type(value).__name__)})"
    if isinstance(value, str) and any(get_origin(each) is Literal for each in hints):
        return _short(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return _with_article(type(value).__name__)


def _advice(value: object, hints: Iterable[Any]) -> str:
    """Say what to write instead, where that can be told."""
    if inspect.isawaitable(value):
        return "; await it first"
    for hint in hints:
        origin, parts = get_origin(hint) or hint, get_args(hint)
        for attribute in ("name", "id"):
            if hint is str and isinstance(own := getattr(value, attribute, None), str):
                return f"; give its {attribute}, {_short(own)}"
        if hint is timedelta and isinstance(value, int | float):
            return f"; write timedelta(seconds={value!r})"
        if isinstance(value, type) and isinstance(origin, type) and issubclass(value, origin):
            return f"; write {value.__name__}(…)"
        if not isinstance(origin, type) or not issubclass(origin, Iterable) or issubclass(origin, Mapping) or not parts:
            continue
        if any(_fits(value, each) for each in _members(parts[0])):
            return f"; write [{_short(value)}]" if isinstance(value, str) else "; put it into a list"
    return ""


def _alternatives(nouns: Iterable[str]) -> str:
    *first, last = dict.fromkeys(nouns)
    return f"{', '.join(first)} or {last}" if first else last


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _with_article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
