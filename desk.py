"""The service desk's agents: names, instructions, tools. Approval rules stand beside the tools that they guard.

``holdfast dev`` and ``python worker.py`` serve them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from activities.run_cleanup import run_cleanup
from activities.run_diagnostic import run_diagnostic
from activities.workspace import Workspace
from holdfast import Agent, HoldfastPlugin

DEFAULT_MODEL: Final = "gpt-5.6"
DEFAULT_WORKSPACE: Final = ".holdfast/workspace"

it_support = Agent(
    "it_support",
    instructions=(
        "You are the IT support of a service desk. Do what the ticket asks with your tools, and make all the calls "
        "that do not depend on each other in one reply. A person may reject a cleanup: then leave that target alone, "
        "do not try it again, and say so. Report what was done, what was not and why, and quote readings as they are."
    ),
    tools=[run_diagnostic, run_cleanup],
    max_turns=12,
)

follow_up = Agent(
    "follow_up",
    instructions=(
        "You close tickets of a service desk. You get a ticket and the report of IT support, some time later. "
        "Check with the disk diagnostic whether the targets hold what the report says, then write a closing note of "
        "at most three sentences. If report and reading disagree, say so plainly."
    ),
    tools=[run_diagnostic],
    max_turns=6,
)

agents = [it_support, follow_up]


@asynccontextmanager
async def workspace() -> AsyncIterator[Workspace]:
    """The folder that the tools work in, made once per worker: ``DESK_WORKSPACE``, else one under ``.holdfast``."""
    yield await asyncio.to_thread(_made)


def _made() -> Workspace:
    root = Path(os.environ.get("DESK_WORKSPACE") or DEFAULT_WORKSPACE).absolute()
    root.mkdir(parents=True, exist_ok=True)
    return Workspace(root)


plugin = HoldfastPlugin(
    agents,
    resources=workspace,
    default_model=os.environ.get("HOLDFAST_MODEL") or DEFAULT_MODEL,
)
"""The model client is made from the environment when a worker starts: ``OPENAI_API_KEY``, ``OPENAI_BASE_URL``."""
