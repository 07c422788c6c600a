"""Scenes in which tools are an MCP server's. See `record`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from handfast import Agent, McpServer, Run
from handfast.testing import Lab, Reply, call

CROOKED: Final = Path(__file__).parents[1] / "support" / "mcp" / "crooked.py"
LOOK = Reply(call("look", {}, "c1"))


def server(fault: str) -> McpServer:
    """A server whose tool is asked about."""
    return McpServer.stdio(fault, sys.executable, str(CROOKED), fault, effect="at_most_once")


AGENTS = [Agent(fault, model="m", mcp=[server(fault)]) for fault in ("asks", "changes")]


async def served(lab: Lab, run: Run) -> None:
    """A call was approved, its server has had one answer, and waits for another in its session."""
    await run.approve(await lab.next_request(run), decided_by="ann")
    await run.answer(await lab.next_request(run), {"said": "so"}, decided_by="ann")
    await lab.next_request(run)


async def redefined(lab: Lab, run: Run) -> None:
    """A call was approved, and is asked about anew, as its server has changed the tool."""
    await run.approve(await lab.next_request(run), decided_by="ann")
    await lab.next_request(run)


SCENES: dict[str, Any] = {"served": ([LOOK], served), "redefined": ([LOOK], redefined)}
STARTED_WITH = {"served": "asks", "redefined": "changes"}
