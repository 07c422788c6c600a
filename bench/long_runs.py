"""Measure long runs: history and time per turn, memory of the worker. `make bench` runs it.

A worker process of its own, a real Temporal server, a scripted model over HTTP. Every turn is one model call and one
tool with 2 KB of output. The reader is sent its whole conversation each time, the skimmer its last 20 turns.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table
from temporalio.client import WorkflowHistory

from handfast.testing import Lab, Reply, Script, call, text
from handfast.testing.script import RecordedRequest

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Figures:
    """Figures of one run.

    Attributes:
        histories: Number of Temporal histories.
        kb_per_turn: Size of all its histories, in units of 1,000 bytes; `events_per_turn` counts their events.
        largest_kb: Size of the largest event.
        worker_mb: Resident memory of the worker after each quarter of the turns.
        ms_per_turn: Wall time.
    """

    agent: str
    turns: int
    histories: int
    kb_per_turn: float
    events_per_turn: float
    largest_kb: float
    worker_mb: list[int]
    ms_per_turn: float


def reading(turns: int) -> Script:
    """A model that reads a page a turn."""
    pages = itertools.count()

    def choose(_: RecordedRequest) -> Reply:
        page = next(pages)
        return Reply(text("done")) if page >= turns else Reply(call("read_page", {"number": page}))

    return Script.of(choose)


async def measure(agent: str, turns: int, artifacts: Path) -> Figures:
    """Run *turns* turns and weigh what they left behind."""
    lab = Lab(
        "reader",
        script=reading(turns),
        directory=HERE,
        environment={"HANDFAST_ARTIFACTS": str(artifacts)},
        replay=False,
    )
    async with lab:
        began = time.monotonic()
        run = await lab.start(agent, max_turns=None)
        memory = await _memory(lab, turns)
        result = await run.result()
        took_s = time.monotonic() - began
        if result.turns != turns + 1 or lab.model.violations:
            raise AssertionError(f"{result.turns} turns, violations: {lab.model.violations[:1]}")
        return _figures(agent, turns, await lab.histories(run), memory, took_s)


async def _memory(lab: Lab, turns: int) -> list[int]:
    [process] = lab.processes
    worker = psutil.Process(process.pid)
    found: list[int] = []
    for quarter in range(1, 5):
        await lab.model.wait_for_request(max(turns * quarter // 4, 1), timeout=1800)
        found.append(round(worker.memory_info().rss / 1e6))
    return found


def _figures(agent: str, turns: int, histories: Sequence[WorkflowHistory], memory: list[int], took_s: float) -> Figures:
    sizes = [event.ByteSize() for history in histories for event in history.events]
    return Figures(
        agent=agent,
        turns=turns,
        histories=len(histories),
        kb_per_turn=round(sum(sizes) / turns / 1000, 2),
        events_per_turn=round(len(sizes) / turns, 2),
        largest_kb=round(max(sizes) / 1000, 1),
        worker_mb=memory,
        ms_per_turn=round(took_s / turns * 1000, 1),
    )


def table(found: Sequence[Figures]) -> Table:
    """The figures, to be looked at."""
    shown = Table(
        "agent", "turns", "histories", "kB a turn", "events a turn", "largest event", "worker MB", "ms a turn"
    )
    for each in found:
        shown.add_row(
            each.agent,
            f"{each.turns:,}",
            str(each.histories),
            f"{each.kb_per_turn:.2f}",
            f"{each.events_per_turn:.2f}",
            f"{each.largest_kb:.1f} kB",
            " → ".join(map(str, each.worker_mb)),
            f"{each.ms_per_turn:.1f}",
        )
    return shown


async def main(turns: Sequence[int], *, as_json: bool) -> None:
    """Measure, saying what is under way."""
    console = Console(stderr=as_json)
    found: list[Figures] = []
    for agent, count in [*(("reader", count) for count in turns), ("skimmer", max(turns))]:
        with tempfile.TemporaryDirectory() as artifacts, console.status(f"{agent}: {count:,} turns …"):
            found.append(await measure(agent, count, Path(artifacts)))
    if as_json:
        json.dump([asdict(each) for each in found], sys.stdout, indent=2)
    else:
        console.print(table(found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("turns", nargs="*", type=int, default=[50, 200, 1000])
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()
    asyncio.run(main(given.turns, as_json=given.json))
