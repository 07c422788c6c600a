"""An agent for worker processes, whose MCP server belongs to the world that the environment names."""

from __future__ import annotations

import os
from pathlib import Path

from handfast import Agent
from support.mcp.world import World

desk = Agent("desk", model="m", mcp=[World(Path(os.environ["MCP_WORLD"])).stdio()])
