"""Reads a value that was written for a strict schema as the value of the type that the schema was made of.

Strict form asks for every property, so a model writes null for one that it wants to leave out. JSON Schema counts
``1.0`` and ``1e3`` among the integers, and pydantic, which never coerces here, does not. Both are put right by one walk
over schema and value together, before pydantic validates.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from handfast.definitions.schema.json_schema import nullable, options_of
from handfast.payloads.json_profile import JsonObject, JsonValue, is_carried

__all__ = ["from_strict"]

_ANOTHER_KIND: Final = 1_000_000
"""Weight of a value of another JSON type, or with another tag: more than any number of problems inside."""

_ANYTHING: Final[JsonObject] = {}

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int, float),
    "number": (int, float),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}


def from_strict(value: JsonValue, schema: JsonObject) -> Any:
    """Return *value* without the nulls that stand for defaults, and with its integers written as integers.

    A null stands for the default where the property may be left out and its own type takes no null. In a union the
    member counts that describes the value best. What fits nothing is returned as it is: pydantic says what is wrong.

    Args:
        value: Decoded JSON.
        schema: pydantic's own schema, not its strict form.
    """
    return _Walk(schema).read(value, schema).value


@dataclass(frozen=True, slots=True, order=True)
class _Fit:
    """Distance of a value from a schema; the smaller, the better.

    Attributes:
        problems: Places that pydantic would refuse, by weight.
        loose: Properties that strict form would have asked for, or would not have allowed.
        changes: Places where the value was written otherwise than the type says it.
    """

    problems: int = 0
    loose: int = 0
    changes: int = 0

    def __add__(self, other: _Fit) -> _Fit:
        return _Fit(self.problems + other.problems, self.loose + other.loose, self.changes + other.changes)


_FITS: Final = _Fit()
_PROBLEM: Final = _Fit(problems=1)
_OTHER: Final = _Fit(problems=_ANOTHER_KIND)
_LOOSE: Final = _Fit(loose=1)
_CHANGE: Final = _Fit(changes=1)


@dataclass(frozen=True, slots=True)
class _Reading:
    value: Any
    fit: _Fit


class _Walk:
    """Reads one value; each pair of a part of it and a schema once, as members of a union may share both."""

    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._read: dict[tuple[int, int, bool], _Reading] = {}

    def read(self, value: JsonValue, schema: JsonObject, *, contested: bool = False) -> _Reading:
        """Read *value*; *contested*: other members of a union describe objects too."""
        key = (id(value), id(schema), contested)
        known = self._read.get(key)
        if known is None:
            known = self._read[key] = self._choose(value, schema, contested=contested)
        return known

    def _choose(self, value: JsonValue, schema: JsonObject, *, contested: bool) -> _Reading:
        options = options_of(schema, self._root)
        contested = contested or sum("properties" in option for option in options) > 1
        readings = [self._as_option(value, option, contested=contested) for option in options]
        return min(readings, key=lambda reading: reading.fit)

    def _as_option(self, value: JsonValue, schema: JsonObject, *, contested: bool) -> _Reading:
        if "enum" in schema or "const" in schema:
            return _constant(value, schema.get("enum", [schema.get("const")]))
        if not _is_of(value, schema.get("type")):
            return _Reading(value, _OTHER)
        match value:
            case list():
                return self._array(value, schema)
            case dict():
                return self._object(value, schema, contested=contested)
            case float() if _wants_integer(schema):
                return _integer(value, schema)
        return _Reading(value, _bounds(value, schema))

    def _array(self, value: list[Any], schema: JsonObject) -> _Reading:
        first = schema.get("prefixItems", [])
        rest = schema.get("items")
        if not first and isinstance(rest, dict) and _holds_only(value, rest):
            return _Reading(value, _bounds(value, schema))
        schemas = [*first[: len(value)], *[rest if isinstance(rest, dict) else _ANYTHING] * (len(value) - len(first))]
        readings = [self.read(item, inner) for item, inner in zip(value, schemas, strict=True)]
        fit = sum((reading.fit for reading in readings), _bounds(value, schema))
        return _Reading([reading.value for reading in readings], fit)

    def _object(self, value: JsonObject, schema: JsonObject, *, contested: bool) -> _Reading:
        properties: JsonObject = schema.get("properties", {})
        required = set(schema.get("required", ()))
        fit = sum((_PROBLEM if name in required else _LOOSE for name in properties.keys() - value.keys()), start=_FITS)
        kept: JsonObject = {}
        for name, item in value.items():
            if name not in properties:
                reading = self._further(item, schema)
            elif item is None and name not in required and not nullable(properties[name], self._root):
                fit += _CHANGE
                default = properties[name].get("default")
                if not (contested and default is not None and self.read(default, properties[name]).fit == _FITS):
                    continue
                reading = _Reading(default, _FITS)  # without it the next member of the union could be meant
            else:
                reading = self.read(item, properties[name])
            kept[name] = reading.value
            fit += reading.fit
        return _Reading(kept, fit)

    def _further(self, value: JsonValue, schema: JsonObject) -> _Reading:
        """Read a property that the schema does not name."""
        allowed = schema.get("additionalProperties", True)
        if isinstance(allowed, dict):
            return self.read(value, allowed)
        if allowed:
            return _Reading(value, _LOOSE if "properties" in schema else _FITS)
        return _Reading(value, _PROBLEM)


def _is_of(value: JsonValue, kinds: Any) -> bool:
    if kinds is None:
        return True
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        types = _TYPES.get(kind, (object,))
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types and object not in types):
            continue
        if kind != "integer" or not isinstance(value, float) or value.is_integer():
            return True
    return False


def _wants_integer(schema: JsonObject) -> bool:
    kinds = schema.get("type")
    return "integer" in kinds and "number" not in kinds if isinstance(kinds, list) else bool(kinds == "integer")


def _integer(value: float, schema: JsonObject) -> _Reading:
    whole = int(Decimal(repr(value)))  # the digits that were written; a double above 2^53 stands for others too
    fit = _bounds(whole, schema) + _CHANGE
    return _Reading(whole, fit if is_carried(whole) else fit + _PROBLEM)


def _holds_only(value: list[Any], schema: JsonObject) -> bool:
    """Return whether every item is a plain scalar of *schema*: a hundred thousand of them are then no walk."""
    kind = schema.get("type")
    if kind not in ("string", "boolean", "number") or schema.keys() - {"type", "title", "description"}:
        return False
    types = _TYPES[kind]
    return all(type(item) in types for item in value)


def _constant(value: JsonValue, allowed: list[Any]) -> _Reading:
    for each in allowed:
        if each == value and isinstance(each, bool) == isinstance(value, bool):
            return _Reading(each, _FITS if type(each) is type(value) else _CHANGE)
    return _Reading(value, _OTHER)


def _bounds(value: Any, schema: JsonObject) -> _Fit:
    """Count the bounds that *value* breaks: two members of a union may differ in nothing else."""
    broken = 0
    match value:
        case bool():
            pass
        case int() | float():
            broken += "minimum" in schema and value < schema["minimum"]
            broken += "maximum" in schema and value > schema["maximum"]
            broken += "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]
            broken += "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]
        case str():
            broken += not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
        case list():
            broken += not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
    return _Fit(problems=broken)
