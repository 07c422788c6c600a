"""docs/scenarios.md says what the tests promise, and no promise that must be held is without a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import scenarios


def test_the_page_is_up_to_date() -> None:
    """The page is what the tests give today."""
    assert scenarios.PAGE.read_text() == scenarios.page(scenarios.bearers()), "run `make scenarios`"


def test_every_row_is_borne_as_it_should_be() -> None:
    """What must be held has a test, and A, D, K and O are replayed as well."""
    assert scenarios.problems(scenarios.bearers()) == []


HELD = [
    f'def test_{row.lower()}(cache): """{row}: it holds."""'
    for row in scenarios.ordered(scenarios.MUST_BE_HELD - scenarios.NOT_YET)
]


def problems_with(*further: str) -> list[str]:
    """What is wrong with tests that hold what they must, and *further* ones."""
    source = "\n".join([*HELD, *further])
    return scenarios.problems(scenarios.bearers_in(scenarios.TESTS / "test_it.py", source))


def test_a_row_that_has_to_be_replayed_is_said() -> None:
    """A row of approvals, nested agents, cancelling or identity needs a test that also runs with the cache off."""
    assert problems_with('def test_x(cache): """K1: it holds."""', 'def test_y(): """It holds."""') == []
    [problem] = problems_with('def test_x(): """O77: it holds."""')
    assert "O77 has no test with the fixture `cache`" in problem


def test_a_row_without_its_test_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that must be held and lost its test is named; so is one that has a test and is still said to lack it."""
    monkeypatch.setattr(scenarios, "NOT_YET", scenarios.NOT_YET | {"A1"})
    monkeypatch.setattr(scenarios, "MUST_BE_HELD", scenarios.MUST_BE_HELD | {"Z9"})
    assert problems_with() == ["Z9 has no test: write it", "A1 has a test now: take it out of _WITHOUT_A_TEST"]


def test_a_row_is_one_line() -> None:
    """Whatever a docstring holds, its row is one line of the table, with a link to each file once."""
    source = '''
def test_x():
    """Z1: nothing of `a|b` or <c>
    is lost.

    More.
    """

def test_y(cache): """Z1: nor this."""
'''.replace("z1", "k1").replace("Z1", "K1")
    found = list(scenarios.bearers_in(scenarios.TESTS / "runs" / "test_it.py", source))
    lines = [line for line in scenarios.page(found).splitlines() if line.startswith("| K1 ")]
    link = "[runs/test_it.py](../tests/runs/test_it.py)"
    assert lines == [f"| K1 | Nothing of `a\\|b` or &lt;c> is lost.<br>Nor this. | yes | {link} |"]


def test_links_lead_to_files() -> None:
    """Every file that the page links to is there."""
    text = scenarios.PAGE.read_text()
    links = {part.split(")")[0] for part in text.split("](")[1:]}
    assert links
    assert all((Path(scenarios.PAGE).parent / link).is_file() for link in links)
