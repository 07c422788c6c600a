"""Values that fit, or just do not fit, the typed parameters of a client: what a server that speaks its API must take,
and what it must refuse."""

from __future__ import annotations

import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints, is_typeddict

import typing_extensions

_WRONG: Mapping[str, Any] = {"str": 7, "int": "seven", "float": "half", "bool": "yes", "list": 7, "dict": 7}
_PLAIN: Mapping[Any, Sequence[Any]] = {str: ["text"], int: [1], float: [0.5], bool: [True, False]}
UNKNOWN_FIELD = "never_heard_of"


@dataclass(frozen=True)
class Faulty:
    """A value with one fault.

    Attributes:
        fault: The type, the field, and what is wrong with it.
    """

    fault: str
    value: Any


@dataclass
class TypedParams:
    """Makes values of typed parameters.

    Attributes:
        known: Values that fit where the type says less than the API: by the type's name and its field, or by the
            field alone.
        beside: Fields without which no object of a type fits, though each of them may be missing: by its name.
        instead: Fields that take the place of those: by the type's name.
        loose: Faults that the API lets pass, as `Faulty.fault` says them.
    """

    known: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    beside: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    instead: Mapping[str, Collection[str]] = field(default_factory=dict)
    loose: Collection[str] = ()

    def fitting(self, kind: Any) -> list[Any]:
        """Values of *kind*: each alternative, and each field alone beside the required ones."""
        kind = _bare(kind)
        if is_typeddict(kind) or typing_extensions.is_typeddict(kind):
            return self._objects(kind)
        if kind is None or kind is type(None):
            return [None]
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Literal:
            return list(arguments)
        if origin in (Union, types.UnionType):
            return [each for part in arguments for each in self.fitting(part)]
        if origin is dict or (isinstance(origin, type) and issubclass(origin, Mapping)):
            return [{"key": each} for each in self.fitting(arguments[1])]
        if origin is not None:
            return [[each] for each in self.fitting(arguments[0])]
        return list(_PLAIN.get(kind, [{"key": "value"}]))

    def faulty(self, kind: Any) -> Iterator[Faulty]:
        """Objects of *kind* with one fault: a field too few or too many, or one of another type."""
        for fault in self._faults(_bare(kind)):
            if fault.fault not in self.loose:
                yield fault

    def _objects(self, kind: Any) -> list[dict[str, Any]]:
        hints = get_type_hints(kind, include_extras=True)
        least = {name: self._field(kind, name, hint)[0] for name, hint in hints.items() if _is_required(hint)}
        beside = self.beside.get(kind.__name__, {})
        alone = {*beside, *self.instead.get(kind.__name__, ())}
        further = [
            {**({} if name in alone else beside), **least, name: value}
            for name, hint in hints.items()
            for value in self._field(kind, name, hint)
            if least.get(name, _NOTHING) != value
        ]
        return [{**beside, **least}, *further]

    def _field(self, kind: Any, name: str, hint: Any) -> Sequence[Any]:
        for key in (f"{kind.__name__}.{name}", name):
            if key in self.known:
                return self.known[key]
        return self.fitting(hint)

    def _faults(self, kind: Any) -> Iterator[Faulty]:
        if not (is_typeddict(kind) or typing_extensions.is_typeddict(kind)):
            return
        hints = get_type_hints(kind, include_extras=True)
        least = self._objects(kind)[0]
        yield Faulty(f"{kind.__name__}.{UNKNOWN_FIELD}", {**least, UNKNOWN_FIELD: 1})
        for name, hint in hints.items():
            named = f"{kind.__name__}.{name}"
            if _is_required(hint):
                yield Faulty(f"{named} missing", {key: value for key, value in least.items() if key != name})
            wrong = _wrong(_bare(hint))
            if wrong is not _NOTHING:
                yield Faulty(f"{named} = {wrong!r}", {**least, name: wrong})
            for inner, wrap in _inside(_bare(hint)):
                for fault in self._faults(inner):
                    yield Faulty(fault.fault, {**least, name: wrap(fault.value)})


class _Nothing:
    pass


_NOTHING = _Nothing()


def _bare(kind: Any) -> Any:
    """A type without what is said about it."""
    while get_origin(kind) in (Required, NotRequired, typing_extensions.Required, typing_extensions.NotRequired):
        kind = get_args(kind)[0]
    return get_args(kind)[0] if hasattr(kind, "__metadata__") else kind


def _is_required(hint: Any) -> bool:
    return get_origin(hint) in (Required, typing_extensions.Required)


def _alternatives(kind: Any) -> list[Any]:
    return [_bare(part) for part in get_args(kind)] if get_origin(kind) in (Union, types.UnionType) else [kind]


def _shape_of(kind: Any) -> str:
    """The JSON type of a type; empty where it may be any."""
    origin = get_origin(kind)
    if kind is None or kind is type(None):
        return "null"
    if origin is Literal:
        return "str"
    if origin is dict or is_typeddict(kind) or typing_extensions.is_typeddict(kind):
        return "dict"
    if origin is not None:
        return "list"
    return {str: "str", int: "int", float: "float", bool: "bool"}.get(kind, "")


def _wrong(kind: Any) -> Any:
    """A value of none of the JSON types that *kind* has; `_NOTHING` where every type fits."""
    alternatives = _alternatives(kind)
    shapes = {_shape_of(part) for part in alternatives}
    if "" in shapes:
        return _NOTHING
    if shapes == {"str"} and all(get_origin(part) is Literal for part in alternatives):
        return "none_of_them"
    taken = shapes - {"null"}
    if len(taken) == 1:
        return _WRONG[taken.pop()]
    if "float" in taken:
        taken.add("int")
    return next(value for shape, value in (("int", 7), ("bool", True), ("dict", {})) if shape not in taken)


def _inside(kind: Any) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
    """The objects within a type, and how each is wrapped there."""
    for part in _alternatives(kind):
        origin = get_origin(part)
        if is_typeddict(part) or typing_extensions.is_typeddict(part):
            yield part, lambda value: value
        elif origin not in (None, Literal, dict):
            for inner in _alternatives(_bare(get_args(part)[0])):
                yield inner, lambda value: [value]
