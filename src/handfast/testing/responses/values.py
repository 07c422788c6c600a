"""Checks of single JSON values, each raising the refusal that names the parameter."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, TypeAlias

from handfast.testing.record import Json
from handfast.testing.responses.refusal import (
    ApiRefusal,
    empty,
    missing,
    no_match,
    too_long,
    unknown,
    wrong_type,
    wrong_value,
)

Check: TypeAlias = Callable[[object, str], object]
"""Checks a value found at a path, and raises `ApiRefusal`."""
Shape: TypeAlias = tuple[Mapping[str, Check], Collection[str]]
"""The check of each field of an object, and the required ones."""


def boolean(value: object, param: str) -> None:
    """Accept true and false."""
    if not isinstance(value, bool):
        raise wrong_type(param, "a boolean", value)


def mapping(value: object, param: str) -> Json:
    """Accept an object and return it."""
    if not isinstance(value, dict):
        raise wrong_type(param, "an object", value)
    return value


def array(value: object, param: str, of: str = "an array") -> list[object]:
    """Accept an array and return it."""
    if not isinstance(value, list):
        raise wrong_type(param, of, value)
    return value


def string(
    value: object, param: str, *, minimum: int = 0, maximum: int | None = None, pattern: str | None = None
) -> str:
    """Accept a string within bounds and return it."""
    if not isinstance(value, str):
        raise wrong_type(param, "a string", value)
    if len(value) < minimum:
        raise empty(param)
    if maximum is not None and len(value) > maximum:
        raise too_long(param, maximum, len(value))
    if pattern is not None and not re.fullmatch(pattern.strip("^$"), value):
        raise no_match(param, pattern)
    return value


def text(maximum: int | None = None) -> Check:
    """Return a check for a string of at most *maximum* characters."""
    return lambda value, param: string(value, param, maximum=maximum)


def one_of(*supported: str) -> Check:
    """Return a check for one of some strings."""

    def check(value: object, param: str) -> None:
        if string(value, param) not in supported:
            raise wrong_value(param, value, supported)

    return check


def nullable(check: Check) -> Check:
    """Return *check*, passing null as well."""
    return lambda value, param: None if value is None else check(value, param)


def integer(minimum: int | None = None, maximum: int | None = None) -> Check:
    """Return a check for an integer within bounds."""

    def check(value: object, param: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(param, "an integer", value)
        _within(value, param, "integer", minimum, maximum)

    return check


def decimal(minimum: float | None = None, maximum: float | None = None) -> Check:
    """Return a check for a number within bounds."""

    def check(value: object, param: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(param, "a decimal", value)
        _within(value, param, "decimal", minimum, maximum)

    return check


def strings(*supported: str) -> Check:
    """Return a check for an array of some strings; of any, where none are named."""

    def check(value: object, param: str) -> None:
        for index, entry in enumerate(array(value, param)):
            string(entry, f"{param}[{index}]")
            if supported and entry not in supported:
                raise wrong_value(f"{param}[{index}]", entry, supported)

    return check


def each(check: Check) -> Check:
    """Return a check for an array whose elements pass *check*."""

    def check_each(value: object, param: str) -> None:
        for index, entry in enumerate(array(value, param)):
            check(entry, f"{param}[{index}]")

    return check_each


def values(check: Check) -> Check:
    """Return a check for an object whose values pass *check*, whatever its keys are."""

    def check_values(value: object, param: str) -> None:
        for name, entry in mapping(value, param).items():
            check(entry, f"{param}.{name}")

    return check_values


def shape(known: Mapping[str, Check], required: Iterable[str] = ()) -> Check:
    """Return a check for an object with the fields of *known*."""
    return lambda value, param: fields(mapping(value, param), param, known, required)


def tagged(kinds: Mapping[str, Shape]) -> Check:
    """Return a check for an object whose `type` says which fields it has."""

    def check(value: object, param: str) -> None:
        entry = mapping(value, param)
        if "type" not in entry:
            raise missing(f"{param}.type")
        kind = string(entry["type"], f"{param}.type")
        if kind not in kinds:
            raise wrong_value(f"{param}.type", kind, kinds)
        known, required = kinds[kind]
        fields(entry, param, {"type": anything, **known}, required)

    return check


def string_or(check: Check, expected: str) -> Check:
    """Return a check for a string, or else what passes *check*: *expected* is its JSON type, with its article."""

    def check_either(value: object, param: str) -> None:
        if isinstance(value, str):
            return
        if not isinstance(value, list if expected == "an array" else dict):
            raise wrong_type(param, f"one of {expected.removeprefix('an ')} or string", value)
        check(value, param)

    return check_either


def item_id(*prefixes: str) -> Check:
    """Return a check for the id of an item, which begins with one of *prefixes*."""

    def check(value: object, param: str) -> None:
        if not string(value, param, minimum=1, maximum=64).startswith(prefixes):
            message = f"Invalid '{param}': '{value}'. Expected an ID that begins with '{prefixes[0]}'."
            raise ApiRefusal(message, param, "invalid_value")

    return check


def call_id(value: object, param: str) -> None:
    """Accept the id of a call."""
    string(value, param, minimum=1, maximum=64)


def fields(value: Json, param: str, known: Mapping[str, Check], required: Iterable[str] = ()) -> None:
    """Check the fields of an object: none missing, none unknown, each as *known* says.

    Args:
        value: The object.
        param: Its path; empty for the request itself.
        known: A check for each field.
        required: Fields that must be there.
    """
    prefix = f"{param}." if param else ""
    for name in required:
        if name not in value:
            raise missing(f"{prefix}{name}")
    only(value, param, known)
    for name, entry in value.items():
        known[name](entry, f"{prefix}{name}")


def only(value: Json, param: str, known: Collection[str]) -> None:
    """Refuse a field that is not among *known*."""
    for name in value:
        if name not in known:
            raise unknown(f"{param}.{name}" if param else name)


def anything(value: object, param: str) -> None:
    """Accept every value."""


def _within(value: float, param: str, kind: str, minimum: float | None, maximum: float | None) -> None:
    if minimum is not None and value < minimum:
        expected = f"Expected a value >= {minimum}, but got {value} instead."
        message = f"Invalid '{param}': {kind} below minimum value. {expected}"
        raise ApiRefusal(message, param, f"{kind}_below_min_value")
    if maximum is not None and value > maximum:
        expected = f"Expected a value <= {maximum}, but got {value} instead."
        message = f"Invalid '{param}': {kind} above maximum value. {expected}"
        raise ApiRefusal(message, param, f"{kind}_above_max_value")


CALLER: Final = nullable(tagged({"direct": ({}, ()), "program": ({"caller_id": text()}, ("caller_id",))}))
"""Callers: the model itself, or a program that it wrote."""
