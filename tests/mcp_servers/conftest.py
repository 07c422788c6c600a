"""A store whose tools are an MCP server's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from support.mcp.world import World, listed, said


@pytest_asyncio.fixture(loop_scope="session")
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """It has a tool that reads, one that may be repeated, and one that says nothing of itself; each answers at once."""
    tools = [
        listed("look", "name", readOnlyHint=True),
        listed("put", "name", idempotentHint=True),
        listed("write", "name"),
    ]
    async with World(tmp_path / "w.sock", tools) as made:
        made.answers = lambda called: said(f"{called.tool} ok")
        yield made
