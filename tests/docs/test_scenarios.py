"""docs/scenarios.md says what the tests promise, and no promise that must be held is without a test."""

from __future__ import annotations

from pathlib import Path

import pytest

import scenarios


def test_the_page_is_up_to_date() -> None:
    """The page is what the tests give today."""
    assert scenarios.PAGE.read_text() == scenarios.page(scenarios.bearers()), "run `make scenarios`"


def test_every_row_is_borne_as_it_should_be() -> None:
    """Names and docstrings agree on their row, what must be held has a test, and A, D, K and O are replayed as well."""
    assert scenarios.problems(scenarios.bearers()) == []


HELD = [
    f'def test_{row.lower()}_holds(cache): """{row}: it holds."""'
    for row in scenarios.ordered(scenarios.MUST_BE_HELD - scenarios.NOT_YET)
]


def problems_with(*further: str) -> list[str]:
    """What is wrong with tests that hold what they must, and *further* ones."""
    source = "\n".join([*HELD, *further])
    return scenarios.problems(scenarios.bearers_in(scenarios.TESTS / "test_it.py", source))


@pytest.mark.parametrize(
    ("test", "problem"),
    [
        pytest.param('def test_k1_x(): """K1: it holds."""', None, id="in-order"),
        pytest.param('def test_x(): """It holds."""', None, id="bears-no-row"),
        pytest.param('def test_k1_x(): """K2: it."""', "K1 in its name and K2 in its docstring", id="two-rows"),
        pytest.param('def test_k1_x(): """It holds."""', "K1 in its name and None", id="docstring-without"),
        pytest.param("def test_k1_x(): pass", "K1 in its name and None", id="no-docstring"),
        pytest.param('def test_x(): """K1: it."""', "None in its name and K1 in its docstring", id="name-without"),
        pytest.param(
            'class TestK:\n    async def test_k1_x(self): """It."""', "K1 in its name and None", id="in-a-class"
        ),
        pytest.param('def test_o77_x(): """O77: it."""', "O77 has no test with the fixture `cache`", id="not-replayed"),
    ],
)
def test_what_is_wrong_is_said(test: str, problem: str | None) -> None:
    """A row that only one of name and docstring bears, or that must be replayed and is not, is named."""
    found = problems_with(test)
    assert (found == []) if problem is None else (len(found) == 1 and problem in found[0])


def test_a_row_without_its_test_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that must be held and lost its test is named; so is one that has a test and is still said to lack it."""
    monkeypatch.setattr(scenarios, "NOT_YET", scenarios.NOT_YET | {"A1"})
    monkeypatch.setattr(scenarios, "MUST_BE_HELD", scenarios.MUST_BE_HELD | {"Z9"})
    assert problems_with() == ["Z9 has no test: write it", "A1 has a test now: take it out of _WITHOUT_A_TEST"]


def test_a_row_is_one_line() -> None:
    """Whatever a docstring holds, its row is one line of the table, with a link to each file once."""
    source = '''
def test_z1_x():
    """Z1: nothing of `a|b` or <c>
    is lost.

    More.
    """

def test_z1_y(cache): """Z1: nor this."""
'''.replace("z1", "k1").replace("Z1", "K1")
    found = list(scenarios.bearers_in(scenarios.TESTS / "spec" / "test_it.py", source))
    lines = [line for line in scenarios.page(found).splitlines() if line.startswith("| K1 ")]
    link = "[spec/test_it.py](../tests/spec/test_it.py)"
    assert lines == [f"| K1 | Nothing of `a\\|b` or &lt;c> is lost.<br>Nor this. | yes | {link} |"]


def test_links_lead_to_files() -> None:
    """Every file that the page links to is there."""
    text = scenarios.PAGE.read_text()
    links = {part.split(")")[0] for part in text.split("](")[1:]}
    assert links
    assert all((Path(scenarios.PAGE).parent / link).is_file() for link in links)
