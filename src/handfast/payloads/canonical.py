"""Canonical JSON (RFC 8785): equal values have equal bytes, whatever language computes a digest of them."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from handfast.payloads.json_profile import MAX_DEPTH, check_json

__all__ = ["canonical_json", "sha256_digest"]

# A digest covers arguments that may use the whole depth, inside an envelope of ours.
_ENVELOPE_DEPTH: Final = 8

# ECMAScript writes a number without exponent while its decimal point falls between these positions.
_SMALLEST_PLAIN_POINT: Final = -5
_LARGEST_PLAIN_POINT: Final = 21


def canonical_json(value: object) -> bytes:
    """Encode *value* by RFC 8785, as UTF-8.

    Keys are sorted by their UTF-16 code units and numbers written as ECMAScript does, so that 1, 1.0 and 1e0
    are the same bytes.

    Raises:
        JsonProfileError: The value is not JSON within the limits of `json_profile`, except that eight more
            levels are allowed: an envelope around a value of full depth.
    """
    check_json(value, max_depth=MAX_DEPTH + _ENVELOPE_DEPTH)
    return _encode(value).encode()


def sha256_digest(value: object) -> str:
    """Return ``"v1:"`` and the hexadecimal SHA-256 of the canonical JSON of *value*."""
    return f"v1:{hashlib.sha256(canonical_json(value)).hexdigest()}"


def _encode(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return _string(value)
        case int():
            return str(int(value))
        case float():
            return _number(value)
        case list():
            return f"[{','.join(_encode(item) for item in value)}]"
        case _:
            members = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be"))
            return f"{{{','.join(f'{_string(key)}:{_encode(item)}' for key, item in members)}}}"


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _number(value: float) -> str:
    """Write a double as ECMAScript's Number::toString; `repr` finds the same, shortest, digits."""
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = float.__repr__(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    digits = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(digits)
    digits = digits.rstrip("0")
    return sign + _place_point(digits, point)


def _place_point(digits: str, point: int) -> str:
    """Return 0.*digits* times ten to the power of *point*, in ECMAScript's notation."""
    if len(digits) <= point <= _LARGEST_PLAIN_POINT:
        return digits.ljust(point, "0")
    if 0 < point <= _LARGEST_PLAIN_POINT:
        return f"{digits[:point]}.{digits[point:]}"
    if _SMALLEST_PLAIN_POINT <= point <= 0:
        return f"0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{point - 1:+d}"
