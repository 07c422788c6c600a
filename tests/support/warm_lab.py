"""Labs whose worker processes start at once, by `support.warm`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, cast

from handfast import Agent
from handfast.testing import Lab
from support.warm_commands import DEVNULL, PIPE, WarmCommands

STDERR: Final = 2


class WarmWorkers:
    """What forks labs' workers; it starts when the first of them is wanted."""

    def __init__(self, directory: Path, stack: AsyncExitStack) -> None:
        """Take where its socket and its log are, and with what it ends."""
        self._directory = directory
        self._stack = stack
        self._started: WarmCommands | None = None

    async def commands(self) -> WarmCommands:
        """What forks commands, in the environment that the tests run in."""
        if self._started is None:
            self._started = await self._stack.enter_async_context(WarmCommands(self._directory, os.environ))
        return self._started


class WarmLab(Lab):
    """A lab whose worker processes are forked, but for those that Python has to start in a way of their own."""

    def __init__(self, warm: WarmWorkers, agents: Sequence[Agent] | str, **options: Any) -> None:
        """Take what forks them, and what a lab takes."""
        super().__init__(agents, **options)
        self._warm = warm

    async def _launched(self, arguments: Sequence[str], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
        commands = await self._warm.commands()
        if not commands.fits(environment):
            return await super()._launched(arguments, environment)
        process = await commands.start(
            *arguments,
            cwd=self._directory or Path.cwd(),
            env=environment,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDERR,
        )
        return cast(asyncio.subprocess.Process, process)  # it has all of it that a lab and its tests use
