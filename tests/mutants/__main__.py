"""Plants each bug of the catalogue in a copy of the source, and runs the test that must notice it. `make mutants`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal

from mutants.catalogue import MUTANTS, ROOT, Mutant

SOURCE: Final = ROOT / "src"
AT_A_TIME: Final = 2
PATIENCE_S: Final = 300.0
NOTICED: Final = 1
"""What pytest exits with where a test has failed: any other code says that it could not be run."""

PLAIN: Final = "tests/approvals/test_parallel_calls.py::test_free_calls_run_while_gated_ones_wait"
"""Has to pass with every bug: one that breaks every run is noticed by any test, and says nothing of the named one."""

Ending = Literal["noticed", "NOT NOTICED", "BREAKS EVERY RUN", "could not be run"]


def run_test(tests: Sequence[str], source: Path) -> subprocess.CompletedProcess[str]:
    """Run tests of this tree on the package below *source*."""
    environment = {**os.environ, "PYTHONPATH": str(source)}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    try:
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        return subprocess.CompletedProcess(command, -1, str(error.stdout or ""), "it took too long")


def ending(mutant: Mutant, below: Path) -> tuple[Ending, float, str]:
    """Plant one bug; whether its test noticed, after how many seconds, and what it said where it could not be run."""
    source = below / mutant.name.replace(" ", "-") / "src"
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
    planted = source / "handfast" / mutant.module
    planted.write_text(mutant.planted(planted.read_text()))
    began = time.monotonic()
    ran = run_test([mutant.test], source)
    took = time.monotonic() - began
    if ran.returncode == NOTICED:
        plain = run_test([PLAIN], source)
        return ("noticed", took, "") if plain.returncode == 0 else ("BREAKS EVERY RUN", took, plain.stdout[-2000:])
    if ran.returncode == 0:
        return "NOT NOTICED", took, ""
    return "could not be run", took, (ran.stdout + ran.stderr)[-2000:]


def say(line: str) -> None:
    """Write one line at once: a run takes minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(wanted: Sequence[str]) -> int:
    """Run the bugs whose names hold one of *wanted*, or all; 0 where each was noticed."""
    mutants = [each for each in MUTANTS if not wanted or any(word in each.name for word in wanted)]
    tests = sorted({PLAIN, *(each.test for each in mutants)})
    say(f"{len(tests)} tests without a bug …")
    sound = run_test(tests, SOURCE)
    if sound.returncode != 0:
        say(sound.stdout[-4000:] + sound.stderr[-1000:])
        say("they have to pass before they can notice anything")
        return 2
    unnoticed = 0
    with tempfile.TemporaryDirectory() as below, ThreadPoolExecutor(AT_A_TIME) as pool:
        endings = pool.map(lambda mutant: ending(mutant, Path(below)), mutants)
        for number, (mutant, (how, took, said)) in enumerate(zip(mutants, endings, strict=True), 1):
            say(f"{number:2}/{len(mutants)}  {how:16}  {took:5.1f} s  {mutant.name:48}  {mutant.test}")
            if said:
                say(said)
            unnoticed += how != "noticed"
    say(f"{len(mutants) - unnoticed} of {len(mutants)} bugs were noticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
