"""docs/errors.md names every error and every way in which a run fails, each with cause and remedy."""

from __future__ import annotations

import re

from handfast.payloads.refusals import RefusalError
from support import errors_page
from support.pages import ROOT

BASES = {"HandfastError", RefusalError.__name__}


def test_the_page_of_errors_is_up_to_date() -> None:
    """The page is what the code gives today."""
    assert errors_page.PAGE.read_text() == errors_page.page(), "run `make api`"


def test_every_error_has_a_remedy() -> None:
    """No error is without a word on what to do, and no remedy is of an error that is gone."""
    assert errors_page.REMEDIES.keys() == errors_page.kinds().keys() - BASES


def test_every_way_to_fail_is_on_the_page() -> None:
    """Each type of failure that the code names is on the page, or is known to end no run."""
    source = "\n".join(path.read_text() for path in (ROOT / "src/handfast").rglob("*.py"))
    named = set(re.findall(r"""(?:type|kind)=["']([A-Z][A-Za-z]+)["']""", source))
    assert named - errors_page.INTERNAL - errors_page.FAILURES.keys() == set()


def test_troubleshooting_names_what_there_is() -> None:
    """The page has twenty rows, and each error and kind of failure in them exists."""
    page = (ROOT / "docs/troubleshooting.md").read_text()
    rows = [line for line in page.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, 21))
    named = {name for row in rows for name in re.findall(r"`([A-Z][a-z]+[A-Z]\w+)(?:`|:)", row)}
    known = {*errors_page.kinds(), *errors_page.FAILURES}
    assert {name for name in named if name not in known} == set()
