"""JSON as Handfast accepts it at every border: RFC 8259, with limits that keep a value the same everywhere.

What is refused either means different things to different readers (duplicate keys) or cannot be stored and hashed
everywhere (NaN, integers beyond 64 bits, lone surrogates, bottomless nesting).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final, NoReturn, TypeAlias

from pydantic import JsonValue

from handfast.payloads.errors import JsonProfileError

__all__ = [
    "MAX_DEPTH",
    "MAX_INTEGER",
    "MIN_INTEGER",
    "JsonObject",
    "JsonValue",
    "check_json",
    "is_carried",
    "parse_json",
    "reparse_json",
    "scrub",
    "scrub_json",
    "spelled_integers",
    "whole_numbers",
]

JsonObject: TypeAlias = dict[str, Any]

MAX_DEPTH: Final = 64
"""Arrays and objects may be nested this deep; the outermost one counts."""

MIN_INTEGER: Final = -(2**63)
MAX_INTEGER: Final = 2**64 - 1
"""Integers are carried digit by digit within 64 bits, signed or not: what databases and most languages have a type for.
A reader that keeps numbers as doubles (JavaScript) tells them apart up to 2^53 only; docs/wire.md says how it can."""

_DOUBLE_INTEGER: Final = 2**53
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MAX_INTEGER_DIGITS: Final = len(str(MAX_INTEGER))
_SHOWN_KEY_CHARS: Final = 64

_INTEGER_PROBLEM: Final = "an integer is beyond 64 bits (-2^63 to 2^64 - 1); a string can hold it, where one is taken"
_SPELLED_BITS: Final = 4096
_MOST_DIGITS: Final = 309
"""Most digits of an integer that a double can hold."""
_DIGITS_PROBLEM: Final = "a number has more digits than a double keeps; send it as a string"
_DEPTH_PROBLEM: Final = f"nested deeper than {MAX_DEPTH} levels; send a flatter value"


def parse_json(text: str, *, every_digit: bool = False) -> JsonValue:
    """Decode *text*, which may come from a model, a person or another program.

    Args:
        text: JSON.
        every_digit: Refuse a number with a fraction that a double would round, as for ``Decimal``.

    Raises:
        JsonProfileError: The text is no JSON or breaks a limit. The problem names the place and the remedy,
            never a value, so that it can be handed to a model as it is.
    """
    try:
        value: JsonValue = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_exact_number if every_digit else _number,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        raise JsonProfileError(f"not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise JsonProfileError(_DEPTH_PROBLEM) from None
    check_json(value)
    return value


def reparse_json(text: str) -> Any:
    """Decode *text* that `parse_json` took before: the same value, without a second check.

    Raises:
        ValueError: It is no JSON.
    """
    return json.loads(text, parse_float=_number)


def check_json(value: object, *, max_depth: int = MAX_DEPTH) -> None:
    """Check that an already decoded value would pass `parse_json`.

    Raises:
        JsonProfileError: A limit is broken, something is no JSON type (a tuple, bytes…), a key is no string.
    """
    try:
        _check(value, max_depth, max_depth)
    except _Unsound as found:
        raise _problem(found.path[::-1] if found.named else (), found.problem) from None


def is_carried(integer: int) -> bool:
    """Tell an integer of at most 64 bits, which arrives everywhere, from a larger one."""
    return MIN_INTEGER <= integer <= MAX_INTEGER


def spelled_integers(value: Any) -> Any:
    """Return *value* with each integer beyond 64 bits as a string of its digits.

    For results: what made them has already happened, so they are not refused for one number.

    Raises:
        JsonProfileError: The value is nested deeper than `MAX_DEPTH`, or an integer has thousands of digits.
    """
    return _spelled(value, 0)


def whole_numbers(value: Any) -> Any:
    """Return *value* with each float that is an integer within ±2^53 written as one; it is the same number in JSON."""
    match value:
        case float() if value.is_integer() and abs(value) <= _DOUBLE_INTEGER:
            return int(value)
        case list():
            return [whole_numbers(item) for item in value]
        case dict():
            return {key: whole_numbers(item) for key, item in value.items()}
        case _:
            return value


def scrub(text: str) -> str:
    """Replace each lone surrogate by U+FFFD and join those that form a pair; other text is unchanged."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def scrub_json(value: Any) -> Any:
    """`scrub` every string and key in *value*; whatever is not a str, list or dict is returned as it is.

    Two keys that become equal end as one: the later wins.

    Raises:
        JsonProfileError: The value is nested deeper than `MAX_DEPTH`.
    """
    return _scrub(value, 0)


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    decoded = dict(pairs)
    if len(decoded) == len(pairs):
        return decoded
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise JsonProfileError(f"the key {_shown(key)} appears twice in one object; send it once")
        seen.add(key)
    raise AssertionError("unreachable: fewer keys than pairs means that one came twice")


def _integer(digits: str) -> float:
    # Before int(): thousands of digits cost quadratic time, and CPython refuses them with an unrelated error.
    if len(digits) <= _MAX_INTEGER_DIGITS and is_carried(integer := int(digits)):
        return integer
    if len(digits) <= _MOST_DIGITS and Decimal(digits) == Decimal(repr(number := float(digits))):
        return number  # a double as JavaScript writes it: 1e20 with all its zeros
    raise JsonProfileError(_INTEGER_PROBLEM)


def _number(text: str) -> float:
    """Read a number with a point or an exponent; an integer that a double would round is read as an integer."""
    number = float(text)
    if _DOUBLE_INTEGER <= abs(number) <= MAX_INTEGER + 1:
        exact = Decimal(text)
        if exact != Decimal(repr(number)) and exact == exact.to_integral_value():
            return int(exact)
    return number


def _exact_number(text: str) -> float:
    number = _number(text)
    if math.isfinite(number) and Decimal(text) != Decimal(repr(number)):
        raise JsonProfileError(_DIGITS_PROBLEM)
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise JsonProfileError(f"{name} is not JSON; send null or a string")


class _Unsound(Exception):
    """Return the problem and its place, which is put together on the way up, as most values are sound.

    Attributes:
        path: From the inside out.
    """

    def __init__(self, problem: str, *, named: bool = True) -> None:
        super().__init__(problem)
        self.problem = problem
        self.named = named
        self.path: list[str | int] = []


def _check(value: object, left: int, max_depth: int) -> None:
    match value:
        case None | bool():
            return
        case str():
            if not value.isascii() and _SURROGATE.search(value):
                raise _Unsound("a string holds a lone surrogate; send valid Unicode")
        case int() | float():
            _check_number(value)
        case list() | dict() if left == 0:
            raise _Unsound(_DEPTH_PROBLEM.replace(str(MAX_DEPTH), str(max_depth)), named=False)
        case list():
            _check_items(enumerate(value), left, max_depth)
        case dict():
            for key in value:
                _check_key(key)
            _check_items(value.items(), left, max_depth)
        case _:
            raise _Unsound(f"{type(value).__name__} is no JSON type")


def _check_items(items: Iterable[tuple[Any, Any]], left: int, max_depth: int) -> None:
    at: Any = None
    try:
        for at, item in items:  # noqa: B007 - what it was in the end is where the problem is
            # What large values have many of is looked at here: a call takes longer than the look.
            kind = type(item)
            if (kind is str and item.isascii()) or (kind is int and MIN_INTEGER <= item <= MAX_INTEGER):
                continue
            _check(item, left - 1, max_depth)
    except _Unsound as found:
        found.path.append(at)
        raise


def _check_number(value: float) -> None:
    if isinstance(value, int):
        if not is_carried(value):
            raise _Unsound(_INTEGER_PROBLEM)
    elif not math.isfinite(value):
        raise _Unsound("a number is not finite or too large for a double; a string can hold it, where one is taken")


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise _Unsound(f"a key is {type(key).__name__}; keys must be strings")
    if not key.isascii() and _SURROGATE.search(key):
        raise _Unsound("a key holds a lone surrogate; send valid Unicode")


def _scrub(value: Any, depth: int) -> Any:
    match value:
        case str():
            return scrub(value)
        case list() | dict() if depth >= MAX_DEPTH:
            raise JsonProfileError(_DEPTH_PROBLEM)
        case list():
            return [_scrub(item, depth + 1) for item in value]
        case dict():
            return {_scrub(key, depth + 1): _scrub(item, depth + 1) for key, item in value.items()}
        case _:
            return value


def _spelled(value: Any, depth: int) -> Any:
    match value:
        case bool():
            return value
        case int() if not is_carried(value):
            if value.bit_length() > _SPELLED_BITS:
                raise JsonProfileError(f"an integer has more than {_SPELLED_BITS:,} bits")
            return str(int(value))
        case list() | dict() if depth >= MAX_DEPTH:
            raise JsonProfileError(_DEPTH_PROBLEM)
        case list():
            return [_spelled(item, depth + 1) for item in value]
        case dict():
            return {key: _spelled(item, depth + 1) for key, item in value.items()}
        case _:
            return value


def _problem(path: Sequence[str | int], problem: str) -> JsonProfileError:
    if not path:
        return JsonProfileError(problem)
    return JsonProfileError(f"at {'.'.join(str(part)[:_SHOWN_KEY_CHARS] for part in path)}: {problem}")


def _shown(key: str) -> str:
    return json.dumps(scrub(key[:_SHOWN_KEY_CHARS]))
