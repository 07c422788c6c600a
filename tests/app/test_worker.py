"""`python worker.py`: the application's worker as a process."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from demonstration.worker_process import environment_of_worker
from handfast.server import EmbeddedServer
from support.desk_process import ROOT, WAIT_S, clean_environment


async def spawn(environment: dict[str, str]) -> asyncio.subprocess.Process:
    """Start ``python worker.py`` from the root."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "worker.py",
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_it_says_when_it_is_ready_and_drains_at_sigterm(server: EmbeddedServer, tmp_path: Path) -> None:
    """The worker prints one line when it serves, ends with 0 at SIGTERM, and writes nothing to stderr."""
    environment = environment_of_worker(
        address=server.address, task_queue="desk-test", workspace=tmp_path, model="m", scripted_at="http://127.0.0.1:9"
    )
    process = await spawn({**environment, "PYTHONWARNINGS": "error"})
    assert process.stdout is not None
    async with asyncio.timeout(WAIT_S):
        assert await process.stdout.readline() == f"worker ready: task queue desk-test at {server.address}\n".encode()
        process.send_signal(signal.SIGTERM)
        _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")


async def test_without_a_key_it_ends_with_one_line(server: EmbeddedServer) -> None:
    """Without a model to ask, the worker ends at once and says which variable is missing."""
    process = await spawn({**clean_environment(), "TEMPORAL_ADDRESS": server.address})
    async with asyncio.timeout(WAIT_S):
        _, errors = await process.communicate()
    assert process.returncode == 1
    [line] = errors.decode().splitlines()
    assert "set OPENAI_API_KEY" in line


async def test_without_a_server_it_ends_with_one_line() -> None:
    """Without a Temporal server, the worker ends and names the address that does not answer."""
    environment = {**clean_environment(), "TEMPORAL_ADDRESS": "127.0.0.1:1", "OPENAI_API_KEY": "k"}
    process = await spawn(environment)
    async with asyncio.timeout(WAIT_S):
        _, errors = await process.communicate()
    assert process.returncode == 1
    [line] = errors.decode().splitlines()
    assert "127.0.0.1:1" in line
