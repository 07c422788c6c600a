"""The application's programs as processes, started as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import psutil

ROOT: Final = Path(__file__).resolve().parents[2]
WAIT_S: Final = 110.0
"""A demo with two kills starts five processes of its own, and takes most of a minute on a busy machine."""


def clean_environment() -> dict[str, str]:
    """This environment without keys, profiles and addresses; every warning is an error."""
    foreign = ("OPENAI_", "TEMPORAL_", "HANDFAST_", "DESK_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "TEMPORAL_CONFIG_FILE": os.devnull, "PYTHONWARNINGS": "error", "NO_COLOR": "1", "USER": "tester"}


def demo(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run demo.py to its end, without a terminal, on any free port."""
    return subprocess.run(
        demo_command(directory, *arguments),
        env={**clean_environment(), **environment},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


def demo_command(directory: Path, *arguments: str) -> list[str]:
    """The command line of a demo that lives in *directory*."""
    return [sys.executable, str(ROOT / "demo.py"), "--directory", str(directory), "--port", "0", *arguments]


def left_behind(directory: Path) -> list[str]:
    """Command lines of processes that belong to a demo in *directory* and still run."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
            if process.pid != os.getpid() and any(str(directory) in word for word in words):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue  # it ended meanwhile, or belongs to someone else
    return found
