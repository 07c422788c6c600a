"""Measure the source: how long files are, how much is said in them, and how full folders are.

Usage: figures.py [PAGE]   Prints them as a row of a table, or puts the row in place of that of a page.
Blank lines do not count where lines are compared with 60, nor where comments are counted per hundred lines.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
SOURCE: Final = ROOT / "src" / "handfast"
NAME: Final = "| handfast |"


def row(source: Path) -> str:
    """Return the figures of the Python files below *source*.

    They are the number of files; the median of their lines; how many have less than 60; public classes, functions and
    methods with a docstring; comments in a hundred lines; the median of the imports in a file; names that end in -ing;
    and the number of files in the fullest folder.
    """
    files = sorted(source.rglob("*.py"))
    texts = [file.read_text() for file in files]
    trees = [ast.parse(text) for text in texts]
    lines = [len(text.splitlines()) for text in texts]
    filled = [sum(bool(line.strip()) for line in text.splitlines()) for text in texts]
    public = [documented for tree in trees for documented in _public(tree)]
    comments = sum(map(_comments, texts))
    gerunds = [file for file in files if file.stem.endswith("ing")]
    [(_, fullest)] = Counter(file.parent for file in files).most_common(1)
    figures = (
        len(files),
        round(median(lines)),
        _percent(sum(count < 60 for count in filled), len(files)),
        _percent(sum(public), len(public)),
        round(100 * comments / sum(filled), 1),
        round(median(map(_imports, trees))),
        _percent(len(gerunds), len(files)),
        fullest,
    )
    return " | ".join([NAME.removesuffix(" |"), *map(str, figures)]) + " |"


def _public(tree: ast.Module) -> Iterator[bool]:
    """Say of each public class, function and method whether it has a docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield ast.get_docstring(node) is not None


def _comments(text: str) -> int:
    return sum(token.type == tokenize.COMMENT for token in tokenize.generate_tokens(io.StringIO(text).readline))


def _imports(tree: ast.Module) -> int:
    return sum(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(tree))


def _percent(part: int, whole: int) -> str:
    return f"{round(100 * part / whole)} %"


def main(arguments: list[str]) -> None:
    """Print the row, or write it into a page."""
    if not arguments:
        sys.stdout.write(f"{row(SOURCE)}\n")
        return
    page = Path(arguments[0])
    lines = page.read_text().splitlines()
    page.write_text("\n".join(row(SOURCE) if line.startswith(NAME) else line for line in lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
