"""Sessions to talk to."""

from __future__ import annotations

import uuid
from typing import Any

from handfast import Agent, tool
from handfast.client.session import Session
from handfast.testing import Lab
from support.labs import Effects


def desk(effects: Effects) -> Agent:
    """An agent with one gated and one free tool."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        return f"wiped {target}"

    @tool(effect="read_only")
    async def look(check: str) -> str:
        """Look at something."""
        effects.append(f"look {check}")
        return f"{check} is fine"

    return Agent("desk", instructions="Help.", model="m", tools=[wipe, look])


def talk_to(lab: Lab, agent: str = "desk", **options: Any) -> Session:
    """A session, which is replayed when the lab closes."""
    session = lab.hf.session(f"s-{uuid.uuid4().hex[:8]}", agent=agent, **options)
    lab.watch(session)
    return session


def kinds(items: list[Any]) -> list[str]:
    """What an input or a transcript consists of, in its order."""
    return [str(item["role"]) if item["type"] == "message" else str(item["type"]) for item in items]


def said(items: list[Any]) -> list[str]:
    """The texts of the user in an input."""
    return [item["content"][0]["text"] for item in items if item.get("role") == "user"]
