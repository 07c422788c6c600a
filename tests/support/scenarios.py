"""Writes docs/scenarios.md: which scenario is promised, and which tests hold it. `make scenarios` runs it.

The page is made from the tests alone: where a docstring begins ``<ROW>: ``, the promise of that row follows. Nothing is
imported.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
TESTS: Final = ROOT / "tests"
PAGE: Final = ROOT / "docs" / "scenarios.md"


def _rows(letter: str, first: int, last: int) -> set[str]:
    return {f"{letter}{number}" for number in range(first, last + 1)}


MUST_BE_HELD: Final = frozenset().union(
    *(_rows("A", 1, 9), _rows("B", 1, 6), _rows("C", 1, 6), _rows("D", 1, 9), _rows("E", 1, 5), _rows("I", 1, 5)),
    *(_rows("F", 1, 9), _rows("G", 1, 6), _rows("H", 1, 6), _rows("K", 1, 10)),
    *(_rows("J", 1, 6), _rows("M", 1, 4), _rows("N", 1, 4), _rows("O", 1, 8), _rows("P", 1, 16)),
    *(_rows("L", 1, 6), _rows("Q", 1, 5)),
    *(
        _rows("XA", 1, 18),
        _rows("XB", 1, 10),
        _rows("XC", 1, 9),
        _rows("XD", 1, 6),
        _rows("XE", 1, 8),
        _rows("XF", 1, 7),
    ),
    *(
        _rows("XG", 1, 7),
        _rows("XH", 1, 10),
        _rows("XJ", 1, 8),
        _rows("XK", 1, 9),
        _rows("XL", 1, 4),
        _rows("XM", 1, 6),
    ),
)
# What is about an HTTP API, webhooks, links or pages, none of which there are yet.
_WITHOUT_A_TEST: Final = """
XC4 XC9 XE8 XH1 XH2 XH8 XK5 XK6 XK8 XK9 XM2
"""
NOT_YET: Final = frozenset(_WITHOUT_A_TEST.split())
"""Rows that must be held and have no test: exactly those, so a row leaves this list with its first test."""
REPLAYED: Final = ("A", "D", "K", "O")
"""Rows of these letters are also held with the worker's cache off: a run is then replayed at every one of its tasks."""
CACHED_ONLY: Final = frozenset({"O1"})
"""Rows of those letters whose tests change the workflow under a run, which a replay would notice."""

HEAD: Final = """\
# Scenarios

What Handfast promises around a person's decision, and the tests that hold it, on a real Temporal server. The table is
made from the tests by `make scenarios`, and a test fails when it is out of date. A promise is a test's own words;
*replayed* says that `make test-replayed` also holds the row with the cache off, where each step replays the run.
Every history that a test makes is replayed on today's code when the test ends.

A: approvals of parallel calls · B: rejections · C: decisions that last · D: approvals inside agents used as tools ·
E: handoffs · F: sessions · G: history at the model's provider · H: streaming · I: turns · J: structured outputs ·
K: cancelling · L: messages to a run · M: guardrails · N: usage · O: identity, errors, trust ·
P: deadlines, effects, people, deploys, neighbours · Q: types and numbers ·
XA: crashes · XB: decisions that race · XC: hostile input · XD: sizes ·
XE: time · XF: cancelling · XG: upgrades · XH: rights · XJ: what agents may rely on · XK: binding ·
XL: secrets · XM: exhaustion

Rows that no test holds yet are about an HTTP API, webhooks, links and pages, none of which there are.

| row | promises | replayed | tests |
|---|---|---|---|
"""
_DOCSTRING: Final = re.compile(r"(?P<row>X?[A-Q]\d+):\s+(?P<promise>.+?)(?:\n\s*\n|\Z)", re.DOTALL)
_ROW: Final = re.compile(r"(?P<letters>[A-Z]+)(?P<number>\d+)")


@dataclass(frozen=True)
class Bearer:
    """A test as far as this page goes.

    Attributes:
        row: The row that its docstring begins with.
        replayed: It runs with the worker's cache off as well.
    """

    path: Path
    name: str
    row: str
    promise: str
    replayed: bool


def bearers() -> list[Bearer]:
    """Find every test whose docstring begins with a row, by file and line."""
    return [each for path in sorted(TESTS.rglob("test_*.py")) for each in bearers_in(path, path.read_text())]


def bearers_in(path: Path, source: str) -> Iterator[Bearer]:
    """The same of one file."""
    for node in ast.walk(ast.parse(source, str(path))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
            continue
        told = _DOCSTRING.match(ast.get_docstring(node) or "")
        if told:
            yield Bearer(
                path,
                node.name,
                told["row"],
                " ".join(told["promise"].split()),
                any(argument.arg == "cache" for argument in (*node.args.args, *node.args.kwonlyargs)),
            )


def problems(found: Iterable[Bearer]) -> list[str]:
    """What is wrong with the tests themselves, a line each, with the remedy."""
    found = list(found)
    held = {each.row for each in found}
    wrong = [f"{row} has no test: write it" for row in ordered(MUST_BE_HELD - NOT_YET - held)]
    wrong += [f"{row} has a test now: take it out of _WITHOUT_A_TEST" for row in ordered(NOT_YET & held)]
    wrong += [f"{row} is in _WITHOUT_A_TEST, and need not be held" for row in ordered(NOT_YET - MUST_BE_HELD)]
    replayed = {each.row for each in found if each.replayed}
    wrong += [
        f"{row} has no test with the fixture `cache`: rows {', '.join(REPLAYED)} are held with the cache off too"
        for row in ordered({row for row in held if row.startswith(REPLAYED)} - replayed - CACHED_ONLY)
    ]
    return wrong


def page(found: Iterable[Bearer]) -> str:
    """The page: one line a row, in order."""
    rows: dict[str, list[Bearer]] = {row: [] for row in MUST_BE_HELD}
    for each in found:
        rows.setdefault(each.row, []).append(each)
    return HEAD + "".join(_line(row, rows[row]) for row in ordered(rows))


def _line(row: str, held_by: list[Bearer]) -> str:
    if not held_by:
        return f"| {row} | *no test yet* | | |\n"
    promises = "<br>".join(_escaped(each.promise) for each in held_by)
    files = dict.fromkeys(each.path.relative_to(ROOT).as_posix() for each in held_by)
    links = "<br>".join(f"[{file.removeprefix('tests/')}](../{file})" for file in files)
    return f"| {row} | {promises} | {'yes' if any(each.replayed for each in held_by) else ''} | {links} |\n"


def _escaped(promise: str) -> str:
    text = promise.replace("|", "\\|").replace("<", "&lt;")
    return text[0].upper() + text[1:] if text else text


def ordered(rows: Iterable[str]) -> list[str]:
    """Rows by letter, then number; those of two letters last."""

    def key(row: str) -> tuple[int, str, int]:
        parts = _ROW.fullmatch(row)
        assert parts is not None
        return len(parts["letters"]), parts["letters"], int(parts["number"])

    return sorted(rows, key=key)


def main() -> int:
    """Write the page; 1 where something is wrong with the tests themselves, which is said."""
    found = bearers()
    PAGE.write_text(page(found))
    wrong = problems(found)
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
