"""The demo's worker, which is killed where that was wished, and started again."""

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
    """Where the demo plays.

    Attributes:
        directory: Where its workspace and logs go.
        scripted_at: Base URL of the scripted model, None for OpenAI.
        crash: Whether the worker is killed, and if so where in the middle of the tool: before or after its effect.
    """

    server: EmbeddedServer
    client: Client
    directory: Path
    model: str
    scripted_at: str | None
    crash: Crash | None


class Workers:
    """One worker at a time, each a process of its own."""

    def __init__(self, setting: Setting, screen: Screen, task_queue: str, folder: Path, workspace: Path) -> None:
        """Nothing runs yet."""
        self._setting, self._screen, self._task_queue = setting, screen, task_queue
        self._workspace, self._log, self._pause_file = workspace, folder / "worker.log", folder / "paused"
        self._worker: WorkerProcess | None = None
        self._kills_left = ["waiting", "running"] if setting.crash else []

    @property
    def kills_left(self) -> bool:
        """Whether one that was wished has not happened."""
        return bool(self._kills_left)

    async def start(self, *, pause_at: Crash | None = None) -> None:
        """Start one.

        Raises:
            DemoError: It does not start.
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
        """End it."""
        if self._worker is not None:
            await self._worker.stop()

    async def kill_while_waiting(self, run: Run) -> None:
        """Kill it while people are asked, if that was wished and has not happened; show that nothing is lost."""
        if "waiting" not in self._kills_left:
            return
        self._kills_left.remove("waiting")
        waiting = len(await run.pending())
        await self._kill(f"while {waiting} requests wait for a person")
        self._screen.line(f"  With no worker alive the server still lists {len(await run.pending())} open requests.")
        await self.start(pause_at=self._setting.crash)

    async def kill_while_running(self) -> None:
        """Kill it in the middle of the call that was just approved, if that was wished and has not happened.

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
