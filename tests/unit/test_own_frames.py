"""Tracebacks of user code: as Python prints them, without the frames of libraries."""

from __future__ import annotations

import importlib
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handfast.activities.runtime.own_frames import last_own_line, own_traceback


def caught(function: Callable[[], Any]) -> BaseException:
    """What *function* raises."""
    try:
        function()
    except BaseException as error:  # noqa: BLE001 - that is what is asked for
        return error
    raise AssertionError("it raised nothing")


def _fail(error: BaseException) -> None:
    raise error


def test_frames_of_libraries_are_left_out() -> None:
    """Of a callback that a library calls only your own frames are shown; of what a library raises none."""

    def default(_value: object) -> object:
        raise LookupError("nothing here")

    error = caught(lambda: json.dumps(object(), default=default))
    shown = own_traceback(error, texts=True)
    assert shown.startswith("Traceback (most recent call last):\n")
    assert shown.endswith("LookupError: nothing here")
    assert "json/encoder.py" not in shown
    assert shown.count('File "') == shown.count(__file__)
    inside = caught(lambda: json.loads("{"))
    assert own_traceback(inside, texts=False).splitlines()[-1] == "json.decoder.JSONDecodeError"


def test_what_an_exception_says_is_left_out_where_texts_are() -> None:
    """Without texts no message, no note and no cause's message is shown, but every kind."""

    def fails() -> None:
        try:
            _fail(KeyError("secret one"))
        except KeyError as cause:
            error = ValueError("secret two")
            error.add_note("secret three")
            raise error from cause

    shown = own_traceback(caught(fails), texts=False)
    assert "secret one" not in shown.replace('_fail(KeyError("secret one"))', "")
    assert shown.splitlines()[-1] == "ValueError"
    assert "KeyError\n\nThe above exception was the direct cause of the following exception:\n" in shown
    said = own_traceback(caught(fails), texts=True)
    assert said.endswith("ValueError: secret two\nsecret three")


def test_members_of_groups_are_shown_at_each_level() -> None:
    """A group in a group is drawn as Python draws it, and each member keeps its cause."""

    def fails() -> None:
        inner = BaseExceptionGroup("inner", [caught(lambda: _fail(OSError("deep")))])
        raise BaseExceptionGroup("outer", [caught(lambda: _fail(ValueError("one"))), inner])

    shown = own_traceback(caught(fails), texts=True).splitlines()
    assert shown[0] == "  + Exception Group Traceback (most recent call last):"
    assert "  | ExceptionGroup: outer (2 sub-exceptions)" in shown
    assert "  +-+---------------- 1 ----------------" in shown
    assert "    | ValueError: one" in shown
    assert any(line.endswith("| OSError: deep") for line in shown)
    assert shown[-1] == "    +------------------------------------"


def test_nothing_that_an_exception_is_breaks_its_log() -> None:
    """A loop of causes, a text that cannot be had, one of megabytes, control characters: each is shown, and short."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert own_traceback(first, texts=True).count("ValueError: a") == 1
    assert "Mute" in own_traceback(Mute(), texts=True)
    assert len(own_traceback(ValueError("x" * 5_000_000), texts=True)) < 10_000
    assert own_traceback(ValueError("red \x1b[31m \ud800 \x00"), texts=True) == "ValueError: red \\x1b[31m \ufffd \\x00"
    chain: BaseException = ValueError("0")
    for number in range(1, 100):
        later = ValueError(str(number))
        later.__cause__ = chain
        chain = later
    assert own_traceback(chain, texts=True).count("ValueError") == 8
    wide = ExceptionGroup("wide", [ValueError(str(number)) for number in range(1000)])
    assert "and 992 more" in own_traceback(wide, texts=True)

    def deep(number: int) -> int:
        return deep(number + 1)

    assert len(own_traceback(caught(lambda: deep(0)), texts=True).splitlines()) < 40


def test_an_application_that_is_installed_is_told_from_a_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where your application is installed like a library, the frames of its own package are shown all the same."""
    place = tmp_path / "site-packages"
    for name, source in {
        "other_library.py": "def call(function):\n    return function()\n",
        "my_shop.py": "import other_library\n\n\ndef bad():\n    raise ValueError('x')\n\n\n"
        "def tool():\n    return other_library.call(bad)\n",
    }.items():
        place.mkdir(exist_ok=True)
        (place / name).write_text(source)
    monkeypatch.syspath_prepend(str(place))
    shop: types.ModuleType = importlib.import_module("my_shop")
    error = caught(shop.tool)
    monkeypatch.delitem(sys.modules, "my_shop")
    monkeypatch.delitem(sys.modules, "other_library")
    shown = own_traceback(error, texts=True, function=shop.tool)
    assert [line for line in shown.splitlines() if "site-packages" in line] == [
        f'  File "{place / "my_shop.py"}", line 9, in tool',
        f'  File "{place / "my_shop.py"}", line 5, in bad',
    ]
    assert last_own_line(error, shop.tool) == f"{place / 'my_shop.py'}, line 5"
