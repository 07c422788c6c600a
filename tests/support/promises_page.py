"""Writes into docs/reliability.md what the last run of the tests says of each promise: `make promises` runs it.

A line of the page's first table names rows of docs/scenarios.md. The tests of a row begin their docstrings with it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from support.scenarios import bearers

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
HEAD: Final = "| promise | rows | in the last run | measured |"
_ROWS: Final = re.compile(r"(?P<letters>X?[A-P])(?P<first>\d+)(?:\u2013X?[A-P](?P<last>\d+))?")


def rows_of(cell: str) -> Iterator[str]:
    """The rows that a cell names, ranges in full."""
    for found in _ROWS.finditer(cell):
        for number in range(int(found["first"]), int(found["last"] or found["first"]) + 1):
            yield f"{found['letters']}{number}"


def took(report: Path, rows: Mapping[tuple[str, str], str]) -> dict[str, list[float]]:
    """Return how many seconds each test of a row took, by row.

    Args:
        report: Pytest's, as ``--junitxml`` leaves it.
        rows: The row of each test, by module and name.

    Raises:
        SystemExit: One of them failed: there is nothing to be told then.
    """
    seconds: dict[str, list[float]] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = case.attrib["name"]
        if case.find("failure") is not None or case.find("error") is not None:
            raise SystemExit(f"{name} failed: run the tests until they pass, and this again")
        module = case.attrib["classname"].rpartition(".")[2]
        if (row := rows.get((module, name.partition("[")[0]))) is not None:
            seconds.setdefault(row, []).append(float(case.attrib["time"]))
    return seconds


def told(cell: str, seconds: dict[str, list[float]]) -> str:
    """What the run says of the rows in *cell*."""
    each = [time for row in rows_of(cell) for time in seconds.get(row, [])]
    if not each:
        raise SystemExit(f"no test of the run bears {cell}")
    tests = "1 test" if len(each) == 1 else f"{len(each)} tests"
    return f"{tests} in {max(sum(each), 1):,.0f} s"


def written(page: str, seconds: dict[str, list[float]]) -> str:
    """The page with what the run says in its first table."""
    before, table = page.split(HEAD, 1)
    lines = table.split("\n")
    for number, line in enumerate(lines):
        if number > 1:
            if not line.startswith("|"):
                break
            cells = line.split(" | ")
            cells[2] = told(cells[1], seconds)
            lines[number] = " | ".join(cells)
    return before + HEAD + "\n".join(lines)


def main(report: str) -> None:
    """Write the page from pytest's report, as ``--junitxml`` leaves it.

    Raises:
        SystemExit: There is none.
    """
    if not Path(report).exists():
        raise SystemExit(f"there is no {report} yet: make test leaves one")
    PAGE.write_text(
        written(PAGE.read_text(), took(Path(report), {(each.path.stem, each.name): each.row for each in bearers()}))
    )


if __name__ == "__main__":
    main(sys.argv[1])
