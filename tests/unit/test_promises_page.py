"""What docs/reliability.md says of the last run comes from that run, and from one without a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.promises_page import HEAD, rows_of, took, written

PAGE = f"""# Reliability

{HEAD}
|---|---|---|---|
| nothing twice | XA1\N{EN DASH}XA3, P4 | 9 tests in 9 s | [the crash matrix](#matrix) |
| no secret | XL1 |  | |

| another | table |
"""
REPORT = """<testsuites><testsuite>
<testcase classname="crash.test_it" name="test_once" time="1.5"/>
<testcase classname="crash.test_it" name="test_twice[many]" time="2.0"/>
<testcase classname="crash.test_it" name="test_late" time="0.6"/>
<testcase classname="security.test_sealed" name="test_sealed" time="0.2"/>
<testcase classname="security.test_sealed" name="test_once" time="7"/>{}
</testsuite></testsuites>"""
ROWS = {
    ("test_it", "test_once"): "XA1",
    ("test_it", "test_twice"): "XA3",
    ("test_it", "test_late"): "P4",
    ("test_sealed", "test_sealed"): "XL1",
}


def report(folder: Path, more: str = "") -> Path:
    made = folder / "tests.xml"
    made.write_text(REPORT.format(more))
    return made


def test_a_promise_is_told_by_the_tests_of_its_rows(tmp_path: Path) -> None:
    """Each line of the table says how many tests bear its rows, ranges in full, and how long they took."""
    page = written(PAGE, took(report(tmp_path), ROWS))
    assert "| nothing twice | XA1\N{EN DASH}XA3, P4 | 3 tests in 4 s | [the crash matrix](#matrix) |" in page
    assert "| no secret | XL1 | 1 test in 1 s | |" in page
    assert page.endswith("| another | table |\n")
    assert list(rows_of("XE1\N{EN DASH}XE3, P3")) == ["XE1", "XE2", "XE3", "P3"]


def test_a_run_with_a_failure_says_nothing(tmp_path: Path) -> None:
    """Where a test has failed, no figure is written."""
    with pytest.raises(SystemExit, match="test_late failed"):
        took(report(tmp_path, '<testcase classname="x" name="test_late" time="1"><failure/></testcase>'), ROWS)


def test_a_row_that_no_test_of_the_run_bears_is_named(tmp_path: Path) -> None:
    """A promise without a test in the run has no figure, and that is said."""
    with pytest.raises(SystemExit, match="no test of the run bears XM6"):
        written(PAGE.replace("XL1", "XM6"), took(report(tmp_path), ROWS))
