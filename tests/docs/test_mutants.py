"""The catalogue of planted bugs keeps up with the code: `make mutants` runs them, which takes minutes."""

from __future__ import annotations

import ast

import pytest

from mutants.catalogue import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_planted_bug_has_its_place_and_its_test(mutant: Mutant) -> None:
    """Where the code or a test has moved on, the catalogue says so at once, and not in the next long run."""
    source = mutant.source.read_text()
    planted = mutant.planted(source)
    assert planted != source
    ast.parse(planted)
    path, _, rest = mutant.test.partition("::")
    name = rest.partition("[")[0]
    defined = ast.walk(ast.parse((ROOT / path).read_text()))
    assert name in {node.name for node in defined if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
