"""Patterns of remembered decisions: what fits, what never fits, and which patterns are too wide."""

from __future__ import annotations

import shlex
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from handfast import Match, Remember
from handfast.payloads.matching import ACTED_UPON, matches, problem_of


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("pytest *", "pytest"),
        ("pytest *", "pytest tests/unit -q"),
        ("pytest *", "  pytest\ttests"),
        ("pytest *", "pytest 'a b'"),
        ("pytest tests/*", "pytest tests/unit"),
        ("pytest -? x", "pytest -q x"),
        ("git commit -m *", "git commit -m 'Fix: a, b = c'"),
        ("ls", "ls"),
        ("make test-*-fast", "make test-a-b-fast"),
        ("python -m pytest *", "python -m pytest -x"),
        ("node tool.js *", "node tool.js -e x"),
        ("make *b?d*f*", "make abcdef"),
        ("make *", "make -x y"),
        ("make a*a x", "make aa x"),
        ("grüße *", "grüße wörld"),
    ],
)
def test_a_value_that_fits(pattern: str, value: str) -> None:
    """Words are compared one by one; a last ``*`` stands for any number of words."""
    assert problem_of({"command": pattern}) is None
    assert matches(pattern, value)


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("pytest *", "pytestx"),
        ("pytest *", "sudo pytest"),
        ("pytest *", "X=1 pytest"),
        ("pytest *", ""),
        ("pytest *", "pytest 'open"),
        ("pytest *", "pytest\nrm x"),
        ("pytest *", "pytest\u2028rm"),
        ("pytest *", "pytest\u00a0x"),
        ("pytest *", "pytest " + "x" * 5000),
        ("pytest tests/*", "pytest tests/a tests/b"),
        ("pytest tests/*", "pytest"),
        ("pytest * -q", "pytest a b -q"),
        ("pytest * -q", "pytest -x -q"),
        ("pytest *.py", "pytest --evil=x.py"),
        ("ls ?", "ls"),
        ("make a*a x", "make a x"),
        ("make *b?d*f x", "make abcdeg x"),
        ("make *bb*b x", "make abbc x"),
    ],
)
def test_a_value_that_does_not_fit(pattern: str, value: str) -> None:
    """Further words, options in the place of names, and anything that is no plain words fit nothing."""
    assert not matches(pattern, value)


@pytest.mark.parametrize(
    "pattern",
    [
        *("", " ", "*", "* x", "py* x", "?ytest", "'' *", "X=1 *", "a; *", "a | *", "a $(b)", "a 'b", "a [bc]", "a\n*"),
        *("bash *", "bash -c *", "sudo *", "/usr/bin/env *", "xargs *", "timeout 5 *", "python *", "python3 -c *"),
        *("node -e *", "perl *", "python -m *", "python3 -I *", "python -X dev *", "perl -w *", "pypy3 *", "Rscript *"),
        *("npx *", "uvx *", "csh *", "strace *", "flock lock *"),
    ],
)
def test_a_pattern_that_is_too_wide_is_refused(pattern: str) -> None:
    """A wildcard as the first word, or behind a command that runs whatever follows, is refused when it is made."""
    with pytest.raises(ValidationError, match="the pattern of command"):
        Match(command=pattern)


@pytest.mark.parametrize(
    "patterns",
    [{}, {f"p{number}": "x" for number in range(21)}, {"command": "x" * 1018}, {"command": "ü" * 600}],
)
def test_too_many_or_too_long_patterns_are_refused(patterns: dict[str, str]) -> None:
    """One to twenty parameters, and a kilobyte in all."""
    with pytest.raises(ValidationError):
        Remember(of="match", match=patterns)


BOUNDED = Remember(of="match", match={"command": "ls *"}, until=datetime(2026, 1, 2, tzinfo=UTC))


@pytest.mark.parametrize(
    ("wire", "meant"),
    [
        ("tool", Remember(of="tool")),
        ("arguments", Remember(of="arguments")),
        ({"match": {"command": "ls *"}}, Match(command="ls *")),
        ({"match": {"command": "ls *"}, "scope": "run"}, Match(command="ls *", scope="run")),
        ({"for": "tool", "scope": "run"}, Remember(of="tool", scope="run")),
        ({"for": "tool", "uses": 5}, Remember(of="tool", uses=5)),
        ({"match": {"command": "ls *"}, "until": "2026-01-02T00:00:00Z"}, BOUNDED),
    ],
)
def test_what_is_remembered_has_one_form_on_the_wire(wire: object, meant: Remember) -> None:
    """Short and long forms are read, and each is written in its short form."""
    read = Remember.from_wire(wire)
    assert (read.of, read.match, read.scope) == (meant.of, meant.match, meant.scope)
    assert (read.uses, read.until) == (meant.uses, meant.until)
    assert meant.model_dump(mode="json") == wire
    assert Remember.from_wire(meant.model_dump(mode="json")).model_dump() == meant.model_dump()


words = st.text(st.characters(codec="utf-8"), max_size=12)
commands = st.lists(words, max_size=6).map(" ".join)
patterns = st.sampled_from(["pytest *", "pytest", "git log *", "ls -l ?*", "make test-*"])
connectors = st.sampled_from([*ACTED_UPON, "\n", "\r", "\0", "&&", "||", "$(", "`", ">", "\u2028", "\x1b", "'", '"'])


@given(pattern=patterns, before=commands, connector=connectors, after=commands)
def test_no_compound_command_fits(pattern: str, before: str, connector: str, after: str) -> None:
    """Whatever is appended by what a shell acts upon, inside or outside quotes, does not fit."""
    head = pattern.replace("*", "x").replace("?", "x")
    for value in (f"{head} {before}{connector}{after}", f"{head}{connector}{after}", f"{head} '{connector}' {after}"):
        if matches(pattern, value):
            # Only paired quotes are no connector: then it is one command, whose words are those of the pattern.
            assert connector in "'\""
            assert not ACTED_UPON & set(value)
            assert shlex.split(value)[0] == shlex.split(pattern)[0]


@given(value=st.text(max_size=60), pattern=patterns)
def test_what_fits_is_one_command_of_the_patterns_name(value: str, pattern: str) -> None:
    """A value that fits holds nothing that a shell acts upon, and begins with the pattern's first word."""
    if matches(pattern, value):
        assert not ACTED_UPON & set(value)
        assert "\n" not in value
        assert shlex.split(value)[0] == shlex.split(pattern)[0]


@given(words=st.lists(st.from_regex(r"[a-z0-9_./-]{1,8}", fullmatch=True), max_size=8))
def test_plain_words_fit_their_own_command(words: list[str]) -> None:
    """Plain words fit a pattern that leaves them open, and the pattern that they are."""
    value = " ".join(["pytest", *words])
    assert matches("pytest *", value)
    assert matches(value, value)


@pytest.mark.parametrize("word", ["*a" * 490 + "b", "*" + "a" * 1000 + "b", "*" + "?a" * 400 + "b", "*?" + "a" * 1000])
def test_odd_patterns_are_bounded_in_time(word: str) -> None:
    """Twenty of the worst patterns against the worst value cost far less than the two seconds of a workflow task."""
    value = "x " + "a" * 500 + ("a" * 500 + "c") * 7
    assert problem_of({"command": f"x {word} x"}) is None
    began = time.process_time()
    for _ in range(20):
        assert not matches(f"x {word} x", f"{value} x")
    assert time.process_time() - began < 1.0
