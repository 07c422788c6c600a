"""Runs `python worker.py` as a process that can be killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from demonstration.screen import DemoError

ROOT: Final = Path(__file__).resolve().parent.parent
READY_WITHIN_S: Final = 30.0
DRAINED_WITHIN_S: Final = 10.0


class WorkerProcess:
    """A running worker; `start` makes it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """The id of the process and of its process group."""
        return self._process.pid

    @classmethod
    async def start(cls, environment: Mapping[str, str], log: Path) -> Self:
        """Start a worker and wait until it is ready.

        Args:
            environment: The whole environment; this process adds nothing of its own.
            log: File for the worker's stderr.

        Raises:
            DemoError: The worker ended at once, or was not ready in time.
        """
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "worker.py",
                cwd=ROOT,
                env=dict(environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        worker = cls(process)
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), READY_WITHIN_S)
        except (TimeoutError, asyncio.CancelledError) as error:
            await worker.kill()
            if isinstance(error, TimeoutError):
                raise DemoError(f"the worker was not ready within {READY_WITHIN_S:.0f} s; see {log}") from None
            raise
        if b"ready" not in line:
            await worker.kill()
            said = await asyncio.to_thread(log.read_text, errors="replace")
            last = (said.strip().splitlines() or ["it said nothing"])[-1]
            raise DemoError(f"the worker did not start: {last}; see {log}")
        return worker

    async def kill(self) -> None:
        """Kill the process group with SIGKILL."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.communicate()

    async def stop(self) -> None:
        """End the worker with SIGTERM, so that it drains; with SIGKILL if it does not."""
        if self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.communicate(), DRAINED_WITHIN_S)
        except TimeoutError:
            await self.kill()


def environment_of_worker(
    *, address: str, task_queue: str, workspace: Path, model: str, scripted_at: str | None
) -> dict[str, str]:
    """Make the environment of a worker of the demo, without any Temporal profile that is meant for other work.

    Args:
        scripted_at: Base URL of the scripted model; None asks OpenAI with the key at hand.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}
    own |= {
        "TEMPORAL_ADDRESS": address,
        "TEMPORAL_CONFIG_FILE": os.devnull,
        "HANDFAST_TASK_QUEUE": task_queue,
        "HANDFAST_MODEL": model,
        "DESK_WORKSPACE": str(workspace),
    }
    own.pop("DESK_PAUSE", None)
    if scripted_at is not None:
        local = ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1"]))
        own |= {
            "OPENAI_API_KEY": "scripted",
            "OPENAI_BASE_URL": scripted_at,
            "NO_PROXY": local,
            "no_proxy": local,
        }
    return own
