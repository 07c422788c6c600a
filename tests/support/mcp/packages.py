"""MCP servers of npm, as `.ci/prepare all` installs them; nothing is installed here."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from support.pages import ROOT

INSTALLED: Final = ROOT / ".venv" / "mcp-servers" / "node_modules" / ".bin"
WAIT_S: Final = 30.0


def program(name: str) -> str:
    """The path of a server; without it the test that asks is skipped."""
    path = INSTALLED / name
    if not path.exists() or shutil.which("node") is None:
        pytest.skip(f"{name} is not installed; `.ci/prepare all` installs it where there is npm")
    return str(path)


@asynccontextmanager
async def everything_by_http() -> AsyncIterator[str]:
    """Run server-everything at a free port; give its address once it listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        program("mcp-server-everything"),
        "streamableHttp",
        env={**os.environ, "PORT": str(port)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(WAIT_S):
            while b"listening" not in (line := await process.stderr.readline()).lower():
                assert line, "it has ended"
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        await process.wait()
