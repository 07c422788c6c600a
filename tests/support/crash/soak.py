"""`make soak`: runs of five kinds for some minutes, while workers are killed and messages lost, doubled and held up.

Three storms, one after the other: *mixed* lasts as long as one likes; *killed-every-second* begins 200 runs within a
minute in which a worker is killed every second; in *crowded* four clients decide each of forty requests at once, and a
stranger sends runs thousands of signals, for a minute. A third worker of the mixed one is never killed: its memory and
open files must not grow. Ends with 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from temporalio.client import Client

from handfast.server import EmbeddedServer
from handfast.testing import ResponsesServer
from support.crash.cases import CASES, CROWDED, DENIED, IDEMPOTENT
from support.crash.ledger import Ledger
from support.crash.matrix import Matrix, play
from support.crash.storm import Storm, Weather
from support.crash.warm_workers import WarmWorkers

MIXED: Final = "mixed"
EVERY_SECOND: Final = "killed-every-second"
CROWD: Final = "crowded"
SAMPLE_S: Final = 2.0
PROGRESS_S: Final = 10.0
MOST_FILES: Final = 10
MOST_MB: Final = 40.0


@dataclass(frozen=True)
class Growth:
    """What a process held in the second and in the last quarter of a storm: medians."""

    mb: tuple[float, float]
    files: tuple[float, float]

    @property
    def flat(self) -> bool:
        """Whether it did not grow by more than chance."""
        return self.mb[1] - self.mb[0] <= MOST_MB and self.files[1] - self.files[0] <= MOST_FILES


async def sampled(process: psutil.Process, samples: list[tuple[float, int]]) -> None:
    """Look at the memory and the open files of *process*, until cancelled."""
    while True:
        with process.oneshot():
            samples.append((process.memory_info().rss / 1e6, process.num_fds()))
        await asyncio.sleep(SAMPLE_S)


def growth(samples: list[tuple[float, int]]) -> Growth:
    """From the second to the last quarter: the first one is what anything takes to get warm."""
    quarter = max(1, len(samples) // 4)
    early, late = samples[quarter : 2 * quarter] or samples, samples[-quarter:]
    return Growth(
        mb=(statistics.median(mb for mb, _ in early), statistics.median(mb for mb, _ in late)),
        files=(statistics.median(files for _, files in early), statistics.median(files for _, files in late)),
    )


async def progress(storm: Storm) -> None:
    """Say how far it is, until cancelled."""
    began = time.monotonic()
    while True:
        await asyncio.sleep(PROGRESS_S)
        faults = sum(storm.after.faults.values())
        ended = storm.begun - storm.under_way
        say(
            f"{time.monotonic() - began:5.0f} s: {storm.begun} begun, {ended} ended, {storm.after.runs} looked at; "
            f"{storm.after.kills} kills, {faults} faults"
        )


async def weathered(matrix: Matrix, name: str, weather: Weather) -> dict[str, Any]:
    """Let one storm pass over; its figures, as JSON has them."""
    say(f"{name}: {weather.seconds:g} s, seed {weather.seed}")
    storm = Storm(matrix, weather)
    steady = await matrix.workers.start(matrix.server.address, storm.task_queue) if name == MIXED else None
    samples: list[tuple[float, int]] = []
    beside = [asyncio.create_task(progress(storm))]
    if steady is not None:
        beside.append(asyncio.create_task(sampled(psutil.Process(steady.pid), samples)))
    began = time.monotonic()
    try:
        after = await storm.pass_over()
    finally:
        for task in beside:
            task.cancel()
        if steady is not None:
            steady.kill()
            await steady.gone()
    figures: dict[str, Any] = {
        "storm": name,
        "seed": weather.seed,
        "seconds": round(time.monotonic() - began, 1),
        **vars(after),
        "faults": dict(after.faults),
    }
    if after.effects != after.approved - after.without:
        after.wrong.append(f"{after.effects} effects of {after.approved} approvals, {after.without} without, in doubt")
    if steady is not None:
        grown = growth(samples)
        figures["steady_worker"] = {"mb": grown.mb, "files": grown.files}
        if not grown.flat:
            after.wrong.append(f"the steady worker grew: {grown.mb} MB, {grown.files} files")
    figures["wrong"] = after.wrong
    say(f"{name}: {after.effects} effects of {after.approved} approvals, {after.doubts} in doubt; wrong: {after.wrong}")
    return figures


async def soak(minutes: float, seed: int, only: str | None) -> list[dict[str, Any]]:
    """Let the storms pass over, one after the other."""
    weathers = {
        MIXED: Weather(seed=seed, seconds=minutes * 60, kill_every_s=5.0, lost=0.03),
        EVERY_SECOND: Weather(seed=seed, seconds=60.0, kill_every_s=1.0, runs=200),
        CROWD: Weather(
            seed=seed,
            seconds=60.0,
            kill_every_s=10.0,
            at_a_time=4,
            cases=(CROWDED, IDEMPOTENT, DENIED),
            clerks=4,
            flood=3000,
            flood_every_s=5.0,
        ),
    }
    with tempfile.TemporaryDirectory(prefix="handfast-soak-") as name:
        directory = Path(name)
        async with (
            await EmbeddedServer.start(persistent=False, port=0, ui=False) as server,
            Ledger(directory) as ledger,
            ResponsesServer(play(CASES)) as model,
        ):
            environment = {**ledger.environment, "OPENAI_API_KEY": "test", "OPENAI_BASE_URL": model.base_url}
            async with WarmWorkers(directory, "support.crash.shop:AGENTS", environment) as workers:
                client = await Client.connect(server.address)
                matrix = Matrix(server, client, ledger=ledger, workers=workers, model=model)
                return [
                    await weathered(matrix, each, weather) for each, weather in weathers.items() if only in (None, each)
                ]


def say(line: str) -> None:
    """Tell whoever watches."""
    sys.stderr.write(f"{line}\n")


def main() -> int:
    """Soak, and say what came of it; 1 where anything is wrong."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long the mixed storm lasts")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of everything that is left to chance")
    parser.add_argument("--only", choices=(MIXED, EVERY_SECOND, CROWD), help="one of the storms")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    figures = asyncio.run(soak(options.minutes, options.seed, options.only))
    if options.json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    else:
        for each in figures:
            sys.stdout.write("".join(f"{key}: {value}\n" for key, value in each.items()) + "\n")
    return 1 if any(each["wrong"] for each in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
