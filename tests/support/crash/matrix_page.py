"""Keeps what the crash matrix measured: `make crash-matrix` writes it into docs/reliability.md, between two marks.

Each test of the matrix leaves its trials in the folder that HANDFAST_MATRIX names; this makes one table of them.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from support.crash.matrix import GOES_ON_S, Case, Trial

VARIABLE: Final = "HANDFAST_MATRIX"
PAGE: Final = Path(__file__).resolve().parents[3] / "docs" / "reliability.md"
BEGIN: Final = "<!-- crash matrix: written by `make crash-matrix` -->"
END: Final = "<!-- end of the crash matrix -->"
ORDER: Final = ("idempotent", "at_most_once", "denied", "reviewed_approves", "parallel", "nested", "renewed")
TITLES: Final = {
    "idempotent": "idempotent, approved",
    "at_most_once": "at most once, approved",
    "denied": "at most once, rejected",
    "reviewed_approves": "at most once, approved by a reviewer",
    "parallel": "two approved and a free one, in parallel",
    "nested": "approved, in an agent used as a tool",
    "renewed": "approved, across a fresh history",
}


def keep(case: Case, trials: Sequence[Trial]) -> None:
    """Leave what was measured for the page, where somebody wants it."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return
    rows = [
        {
            "method": trial.point.method,
            "side": trial.point.side,
            "effects": sum(trial.effects[tool] for tool in case.calls),
            "calls": len(case.calls),
            "doubts": trial.doubts,
            "pause_s": trial.pause_s,
            "whole_s": trial.whole_s,
            "again": trial.requests - trial.replies,
            "late_before": trial.late_before,
        }
        for trial in trials
        if trial.point is not None
    ]
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / f"{case.name}.json").write_text(json.dumps(rows))


def table(measured: dict[str, list[dict[str, Any]]]) -> str:
    """Two tables: by case, and by message."""
    lines = [
        "| run | points | effects a call | in doubt | model asked again | longest pause: median | most |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in ORDER:
        if name in measured:
            rows = measured[name]
            lines.append(f"| {TITLES[name]} | {len(rows)} | {_effects(rows)} | {_told(rows)} |")
    everything = [row for rows in measured.values() for row in rows]
    lines += [
        "",
        "| message | killed | points | in doubt | longest pause: median | most |",
        "|---|---|---|---|---|---|",
    ]
    for method, side in sorted({(row["method"], row["side"]) for row in everything}):
        rows = [row for row in everything if (row["method"], row["side"]) == (method, side)]
        where = "before it is sent" if side == "before" else "before its reply is read"
        doubts = sum(row["doubts"] for row in rows)
        lines.append(f"| `{method}` | {where} | {len(rows)} | {doubts} | {_pauses(rows)} |")
    late = sum(row["late_before"] > 0 for row in everything)
    lines += ["", f"{late} of {len(everything)} were later than {GOES_ON_S:g} s at first, and were done once more."]
    return "\n".join(lines) + "\n"


def _effects(rows: Iterable[dict[str, Any]]) -> str:
    counts = sorted({row["effects"] / row["calls"] for row in rows})
    return " or ".join(f"{each:g}" for each in counts)


def _told(rows: Sequence[dict[str, Any]]) -> str:
    return f"{sum(row['doubts'] for row in rows)} | {sum(row['again'] for row in rows)} | {_pauses(rows)}"


def _pauses(rows: Sequence[dict[str, Any]]) -> str:
    pauses = [row["pause_s"] for row in rows]
    return f"{statistics.median(pauses):.1f} s | {max(pauses):.1f} s"


def main(folder: str) -> None:
    """Write the tables into the page."""
    measured = {path.stem: json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))}
    written = table(measured)
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{written}\n{END}{after}")
    sys.stdout.write(written)


if __name__ == "__main__":
    main(sys.argv[1])
