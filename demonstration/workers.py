"""The demo's worker, which is killed and started again on request."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from temporalio.client import Client

from activities import pause
from demonstration.screen import DemoError, Screen
from demonstration.worker_process import WorkerProcess, environment_of_worker
from handfast import Run
from handfast.server import EmbeddedServer

Crash = Literal["before", "after"]

PAUSED_WITHIN_S: Final = 30.0
LOOK_EVERY_S: Final = 0.02


@dataclass(frozen=True)
class Setting:
    """Server, client, folder and model of the demo.

    Attributes:
        directory: Folder for workspace and logs.
        scripted_at: Base URL of the scripted model, None for OpenAI.
        crash: Kill the worker, in the tool *before* or *after* its effect; None never kills it.
    """

    server: EmbeddedServer
    client: Client
    directory: Path
    model: str
    scripted_at: str | None
    crash: Crash | None


class Workers:
    """Runs one worker at a time, each in a process of its own."""

    def __init__(self, setting: Setting, screen: Screen, task_queue: str, folder: Path, workspace: Path) -> None:
        self._setting, self._screen, self._task_queue = setting, screen, task_queue
        self._workspace, self._log, self._pause_file = workspace, folder / "worker.log", folder / "paused"
        self._worker: WorkerProcess | None = None
        self._kills_left = ["waiting", "running"] if setting.crash else []

    @property
    def kills_left(self) -> bool:
        """Return True where a requested kill has not happened yet."""
        return bool(self._kills_left)

    async def start(self, *, pause_at: Crash | None = None) -> None:
        """Start a worker.

        Raises:
            DemoError: The worker does not start.
        """
        environment = environment_of_worker(
            address=self._setting.server.address,
            task_queue=self._task_queue,
            workspace=self._workspace,
            model=self._setting.model,
            scripted_at=self._setting.scripted_at,
        )
        if pause_at is not None:
            environment[pause.VARIABLE] = f"{pause_at}:{self._pause_file}"
        self._worker = await WorkerProcess.start(environment, self._log)
        told = f" with {pause.VARIABLE}: its tool will stand still {pause_at} its effect" if pause_at else ""
        self._screen.line(f"A worker runs: process {self._worker.pid} (python worker.py){told}.", "dim")

    async def stop(self) -> None:
        """End the worker, if one runs."""
        if self._worker is not None:
            await self._worker.stop()

    async def kill_while_waiting(self, run: Run) -> None:
        """Kill the worker while requests wait, once and on request; show that nothing is lost."""
        if "waiting" not in self._kills_left:
            return
        self._kills_left.remove("waiting")
        waiting = len(await run.pending())
        await self._kill(f"while {waiting} requests wait for a person")
        self._screen.line(f"  With no worker alive the server still lists {len(await run.pending())} open requests.")
        await self.start(pause_at=self._setting.crash)

    async def kill_while_running(self) -> None:
        """Kill the worker in the middle of the call that was just approved, once and on request.

        Raises:
            DemoError: The call does not begin.
        """
        if "running" not in self._kills_left:
            return
        self._kills_left.remove("running")
        give_up_at = asyncio.get_running_loop().time() + PAUSED_WITHIN_S
        while not self._pause_file.exists():
            if asyncio.get_running_loop().time() > give_up_at:
                raise DemoError(f"the approved call did not begin within {PAUSED_WITHIN_S:.0f} s")
            await asyncio.sleep(LOOK_EVERY_S)
        await self._kill(f"in the middle of the approved call, {self._setting.crash} its effect")
        self._pause_file.unlink()
        await self.start()

    async def _kill(self, when: str) -> None:
        assert self._worker is not None
        await self._worker.kill()
        self._screen.line(f"kill -9 {self._worker.pid}: the worker died {when}.", "red")
