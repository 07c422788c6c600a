"""Worker processes that start at once, by `support.warm`."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from support.warm import START_S, Warm, WarmProcess, fork_for_each


class WarmWorker:
    """A worker process: a connection of its own to the server, and an end of its own."""

    def __init__(self, process: WarmProcess) -> None:
        self.pid = process.pid
        self.kill = process.kill
        self.gone = process.gone
        self._process = process

    async def ready(self) -> None:
        """Wait until it polls."""
        async with asyncio.timeout(START_S):
            line = await self._process.line()
        if line != "ready\n":
            raise AssertionError(f"worker {self.pid} did not start: {line!r}")


class WarmWorkers(Warm):
    """The process that forks them."""

    def __init__(self, directory: Path, agents: str, environment: Mapping[str, str]) -> None:
        """Take where its socket and the workers' logs are, ``MODULE:NAME`` of their agents, and their environment."""
        super().__init__(
            directory / "workers.sock",
            "support.crash.warm_workers",
            agents,
            log=directory / "workers.log",
            environment={**os.environ, **environment},
        )

    async def start(self, address: str, task_queue: str) -> WarmWorker:
        """Fork a worker; it need not poll yet when this returns.

        Args:
            address: Of the server, or of a proxy before it.
            task_queue: Where it polls.
        """
        return WarmWorker(await self.fork({"address": address, "task_queue": task_queue}))


# --- the process that forks ---


def main(path: str, target: str) -> None:
    """Fork workers for the agents ``MODULE:NAME``."""
    from support.crash import warm_worker  # noqa: PLC0415 - only this process needs what it imports

    agents = warm_worker.prepare(target)

    def child(spec: dict[str, Any], _fds: list[int], connection: socket.socket) -> NoReturn:
        code = 1
        try:
            asyncio.run(warm_worker.serve_agents(agents, spec, lambda: connection.sendall(b"ready\n")))
            code = 0
        finally:
            os._exit(code)

    fork_for_each(path, child)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
