"""Measure the source: how long files are, how much is said in them, and how full folders are.

Usage: figures.py [PAGE]   Prints the table, or writes it between the two marks of a page.
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
BEGIN: Final = "<!-- figures: `make figures` -->"
END: Final = "<!-- end of the figures -->"


def table(source: Path) -> str:
    """Return the figures of the Python files below *source* as one row under a head."""
    files = sorted(source.rglob("*.py"))
    texts = [file.read_text() for file in files]
    trees = [ast.parse(text) for text in texts]
    lines = [len(text.splitlines()) for text in texts]
    filled = [sum(bool(line.strip()) for line in text.splitlines()) for text in texts]
    public = [documented for tree in trees for documented in _public(tree)]
    comments = sum(map(_comments, texts))
    gerunds = [file for file in files if file.stem.endswith("ing")]
    fullest, count = Counter(file.parent for file in files).most_common(1)[0]
    figures = {
        "files": len(files),
        "median lines": round(median(lines)),
        "longest": max(lines),
        "< 60 lines": _percent(sum(count < 60 for count in filled), len(files)),
        "public docstrings": _percent(sum(public), len(public)),
        "comments / 100 lines": round(100 * comments / sum(filled), 1),
        "imports / file": round(median(map(_imports, trees))),
        "-ing names": _percent(len(gerunds), len(files)),
        "fullest folder": f"{count} ({fullest.relative_to(source.parent)})",
    }
    head = "| " + " | ".join(figures) + " |"
    row = "| " + " | ".join(map(str, figures.values())) + " |"
    return "\n".join([head, "|---" * len(figures) + "|", row])


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
    """Print the table, or write it into a page."""
    if not arguments:
        sys.stdout.write(f"{table(SOURCE)}\n")
        return
    page = Path(arguments[0])
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n\n{table(SOURCE)}\n\n{END}{after}")


if __name__ == "__main__":
    main(sys.argv[1:])
