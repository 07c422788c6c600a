"""Run a command beside busy processes, as on a machine that has other work.

Usage: under_load.py COUNT COMMAND ...   The busy processes end with the command, however it ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import FrameType
from typing import Final

LIMIT_S: Final = 3 * 3600
# Each ends by itself too: at the limit, and within a second of a parent that was killed and could not end it.
BUSY: Final = f"""
import os, sys, time
end = time.monotonic() + {LIMIT_S}
while os.getppid() == int(sys.argv[1]) and time.monotonic() < end:
    pause = time.monotonic() + 1
    while time.monotonic() < pause:
        pass
"""


def main(count: int, command: list[str]) -> int:
    """Return the exit code of *command*."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    busy: list[subprocess.Popen[bytes]] = []
    try:
        busy.extend(subprocess.Popen([sys.executable, "-c", BUSY, str(os.getpid())]) for _ in range(count))
        return _run(command)
    finally:
        for process in busy:
            process.kill()
        for process in busy:
            process.wait()


def _run(command: list[str]) -> int:
    with subprocess.Popen(command) as running:
        try:
            return running.wait()
        except BaseException:
            running.send_signal(signal.SIGINT)  # it gets none of its own where only this process was told to end
            raise


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
