"""Canonical JSON: the bytes that every digest stands on."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given, strategies as st

from handfast.errors import JsonProfileError
from handfast.payloads.canonical import canonical_json, sha256_digest
from handfast.payloads.json_profile import parse_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        pytest.param("0000000000000000", "0", id="zero"),
        pytest.param("8000000000000000", "0", id="minus-zero"),
        pytest.param("0000000000000001", "5e-324", id="min-pos"),
        pytest.param("8000000000000001", "-5e-324", id="min-neg"),
        pytest.param("7fefffffffffffff", "1.7976931348623157e+308", id="max-pos"),
        pytest.param("ffefffffffffffff", "-1.7976931348623157e+308", id="max-neg"),
        pytest.param("4340000000000000", "9007199254740992", id="max-pos-int"),
        pytest.param("c340000000000000", "-9007199254740992", id="max-neg-int"),
        pytest.param("4430000000000000", "295147905179352830000", id="2^68"),
        pytest.param("44b52d02c7e14af5", "9.999999999999997e+22", id="below-1e23"),
        pytest.param("44b52d02c7e14af6", "1e+23", id="1e23"),
        pytest.param("44b52d02c7e14af7", "1.0000000000000001e+23", id="above-1e23"),
        pytest.param("444b1ae4d6e2ef4e", "999999999999999700000", id="below-1e21-by-2"),
        pytest.param("444b1ae4d6e2ef4f", "999999999999999900000", id="below-1e21"),
        pytest.param("444b1ae4d6e2ef50", "1e+21", id="1e21"),
        pytest.param("3eb0c6f7a0b5ed8c", "9.999999999999997e-7", id="below-1e-6"),
        pytest.param("3eb0c6f7a0b5ed8d", "0.000001", id="1e-6"),
        pytest.param("41b3de4355555553", "333333333.3333332", id="thirds-53"),
        pytest.param("41b3de4355555554", "333333333.33333325", id="thirds-54"),
        pytest.param("41b3de4355555555", "333333333.3333333", id="thirds-55"),
        pytest.param("41b3de4355555556", "333333333.3333334", id="thirds-56"),
        pytest.param("41b3de4355555557", "333333333.33333343", id="thirds-57"),
        pytest.param("becbf647612f3696", "-0.0000033333333333333333", id="small-negative"),
        pytest.param("43143ff3c1cb0959", "1424953923781206.2", id="round-to-even"),
    ],
)
def test_numbers_are_written_as_in_rfc_8785_appendix_b(bits: str, expected: str) -> None:
    """A digest made here equals one made by any other implementation of RFC 8785."""
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_json(number).decode() == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(1.0, "1", id="1.0"),
        pytest.param(1e21, "1e+21", id="1e21"),
        pytest.param(1e-7, "1e-7", id="1e-7"),
        pytest.param(-0.0, "0", id="minus-zero"),
        pytest.param(4.50, "4.5", id="4.50"),
        pytest.param(2e-3, "0.002", id="2e-3"),
        pytest.param(-(2**53), "-9007199254740992", id="smallest-integer-of-a-double"),
        pytest.param(2**53 + 1, "9007199254740993", id="an-integer-that-no-double-holds"),
        pytest.param(-(2**63), "-9223372036854775808", id="smallest-integer"),
        pytest.param(2**64 - 1, "18446744073709551615", id="largest-integer"),
        pytest.param(2.0**60, "1152921504606847000", id="a-large-double-as-ECMAScript-writes-it"),
        pytest.param(True, "true", id="true-is-no-1"),
    ],
)
def test_numbers_people_write_have_one_form(value: object, expected: str) -> None:
    """However a number was written, its canonical form is the same."""
    assert canonical_json(value).decode() == expected


def test_the_sample_of_rfc_8785_section_3_2_2_has_its_published_bytes() -> None:
    """Literals, numbers, escapes and order come out as the RFC prints them."""
    sample = r"""{
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"""
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        r'"string":"€$\u000f\nA' + r"'B\"\\\\\"/" + '"}'
    )
    assert canonical_json(parse_json(sample)) == expected.encode()


def test_keys_are_sorted_by_utf_16_code_units() -> None:
    """The order is RFC 8785's, where an emoji (a surrogate pair) comes before U+FB33."""
    sample = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    assert list(json.loads(canonical_json(sample))) == [
        "\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33",
    ]  # fmt: skip


@given(VALUES)
def test_canonical_bytes_mean_the_same_value(value: Any) -> None:
    """Canonical JSON is JSON: reading it gives the same numbers and texts, and writing those gives the same bytes."""
    text = canonical_json(value)
    again = parse_json(text.decode())
    assert same(again, value)
    assert canonical_json(again) == text


def same(read: Any, value: Any) -> bool:
    """Whether *read* is *value*, or the double that *value* is."""
    match value:
        case list():
            return len(read) == len(value) and all(map(same, read, value))
        case dict():
            return bool(read.keys() == value.keys()) and all(same(read[key], value[key]) for key in value)
        case float():
            return float(read) == value
        case _:
            return bool(read == value)


@given(st.dictionaries(TEXT, st.integers(-5, 5)))
def test_the_order_of_keys_does_not_change_a_digest(value: dict[str, int]) -> None:
    """Two objects with equal members have equal digests."""
    assert sha256_digest(dict(reversed(value.items()))) == sha256_digest(value)


def test_a_digest_names_its_version() -> None:
    """The digest of the empty object is pinned, so that no release can change what was approved."""
    assert sha256_digest({}) == "v1:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_arguments_of_full_depth_fit_into_an_envelope() -> None:
    """Arguments that the border accepts can always be digested together with their request."""
    arguments: object = {}
    for _ in range(63):
        arguments = {"a": arguments}
    assert sha256_digest({"request": "1", "arguments": arguments}).startswith("v1:")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(float("nan"), id="nan"),
        pytest.param(2**64, id="beyond-64-bits"),
        pytest.param(-(2**63) - 1, id="beyond-64-bits-below"),
        pytest.param("\ud800", id="surrogate"),
        pytest.param((1,), id="tuple"),
    ],
)
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    """Nothing is digested that another implementation would digest differently."""
    with pytest.raises(JsonProfileError):
        canonical_json(value)
