"""JSON at the border: what is refused, and what passes unchanged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from handfast.errors import JsonProfileError
from handfast.payloads.json_profile import MAX_DEPTH, check_json, parse_json, scrub, scrub_json

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('{"a": 1, "a": 2}', 'key "a" appears twice', id="duplicate-key"),
        pytest.param('[{"x": {"a": 1, "b": 2, "a": 1}}]', 'key "a" appears twice', id="duplicate-key-inside"),
        pytest.param("NaN", "NaN is not JSON", id="nan"),
        pytest.param("[Infinity]", "Infinity is not JSON", id="infinity"),
        pytest.param("-Infinity", "-Infinity is not JSON", id="minus-infinity"),
        pytest.param("1e999", "too large for a double", id="overflowing-float"),
        pytest.param(str(2**64), "beyond 64 bits", id="integer-above"),
        pytest.param(str(-(2**63) - 1), "beyond 64 bits", id="integer-below"),
        pytest.param(str(2**70), "beyond 64 bits", id="integer-2^70"),
        pytest.param("9" * 100_000, "beyond 64 bits", id="integer-of-100000-digits"),
        pytest.param(r'"\ud800"', "lone surrogate", id="surrogate"),
        pytest.param('"\udc00"', "lone surrogate", id="raw-surrogate"),
        pytest.param(r'{"\udfff": 1}', "a key holds a lone surrogate", id="surrogate-in-key"),
        pytest.param(nested(MAX_DEPTH + 1), "nested deeper than 64", id="one-too-deep"),
        pytest.param(nested(2000), "nested deeper than 64", id="2000-deep"),
        pytest.param(nested(500_000), "nested deeper than 64", id="500000-deep"),
        pytest.param("", "not valid JSON", id="empty"),
        pytest.param("{'a': 1}", "line 1, column 2", id="python-quotes"),
        pytest.param('{"a": 1} trailing', "not valid JSON", id="trailing-text"),
        pytest.param('"\n"', "not valid JSON", id="control-character"),
    ],
)
def test_text_outside_the_profile_is_refused_in_words_a_model_can_act_on(text: str, expected: str) -> None:
    """Whatever two readers could understand differently is refused, and the problem says what to do."""
    with pytest.raises(JsonProfileError) as refused:
        parse_json(text)
    assert expected in refused.value.problem
    assert "\n" not in refused.value.problem
    refused.value.problem.encode()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param(str(2**64 - 1), 2**64 - 1, id="largest-integer"),
        pytest.param(str(-(2**63)), -(2**63), id="smallest-integer"),
        pytest.param("9007199254740993.0", 2**53 + 1, id="integer-with-a-point-that-no-double-holds"),
        pytest.param("9.007199254740993E15", 2**53 + 1, id="integer-with-an-exponent-that-no-double-holds"),
        pytest.param("100000000000000000000", 1e20, id="double-with-all-its-zeros"),
        pytest.param("1e18", 1e18, id="large-float-stays-float"),
        pytest.param(r'"\ud83d\ude00"', "😀", id="escaped-pair"),
        pytest.param('{"__proto__": {"x": "../../etc"}}', {"__proto__": {"x": "../../etc"}}, id="odd-but-plain"),
        pytest.param("1.0", 1.0, id="float-stays-float"),
    ],
)
def test_what_the_profile_allows_arrives_exactly(text: str, value: object) -> None:
    """Nothing that is allowed is changed on the way in."""
    decoded = parse_json(text)
    assert decoded == value
    assert type(decoded) is type(value)


def test_the_full_depth_is_usable() -> None:
    """Sixty-four levels are accepted, so the limit is what the documentation says."""
    parse_json(nested(MAX_DEPTH))


@given(VALUES)
def test_every_value_within_the_limits_survives_the_border(value: Any) -> None:
    """A value that the check accepts comes back equal after it was written and read."""
    check_json(value)
    assert parse_json(json.dumps(value)) == value


@given(st.text())
def test_any_text_ends_as_a_value_or_a_typed_refusal(text: str) -> None:
    """No text makes the parser fail in another way."""
    try:
        check_json(parse_json(text))
    except JsonProfileError as refused:
        refused.problem.encode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param((1, 2), "tuple is no JSON type", id="tuple"),
        pytest.param({"a": b"x"}, "at a: bytes is no JSON type", id="bytes"),
        pytest.param({1: "x"}, "a key is int", id="integer-key"),
        pytest.param({"a": [0, float("nan")]}, "at a.1: a number is not finite", id="nan"),
        pytest.param(2**64, "beyond 64 bits", id="large-integer"),
        pytest.param(["\ud800"], "at 0: a string holds a lone surrogate", id="surrogate"),
    ],
)
def test_decoded_values_have_the_same_limits(value: object, expected: str) -> None:
    """A value from Python code is held to the same rules, and the problem says where it breaks them."""
    with pytest.raises(JsonProfileError, match=expected):
        check_json(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    """A cycle ends as too deep instead of for ever."""
    cycle: list[object] = []
    cycle.extend([cycle, cycle])
    with pytest.raises(JsonProfileError, match="nested deeper"):
        check_json(cycle)
    with pytest.raises(JsonProfileError, match="nested deeper"):
        scrub_json(cycle)


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        pytest.param("plain", "plain", id="ascii"),
        pytest.param("grün 😀", "grün 😀", id="valid-unicode"),
        pytest.param("a\ud800b", "a\ufffdb", id="lone-high"),
        pytest.param("\udc00", "\ufffd", id="lone-low"),
        pytest.param("\ud83d\ude00", "😀", id="pair-in-two-halves"),
        pytest.param("end\ud83d", "end\ufffd", id="cut-in-the-middle"),
    ],
)
def test_scrubbed_text_can_be_stored(text: str, scrubbed: str) -> None:
    """Lone surrogates become the replacement character; everything else stays."""
    assert scrub(text) == scrubbed


@given(st.text(st.characters()))
def test_scrubbing_always_ends_in_valid_unicode(text: str) -> None:
    """Any text can be encoded after scrubbing, and scrubbing again changes nothing."""
    once = scrub(text)
    once.encode()
    assert scrub(once) == once


def test_scrubbing_reaches_keys_and_depths() -> None:
    """Keys and nested strings are scrubbed as well."""
    assert scrub_json({"\ud800": ["\udc00", {"k": 1}]}) == {"\ufffd": ["\ufffd", {"k": 1}]}
