"""An agent whose one tool asks first, and leaves a trace each time that it runs."""

from __future__ import annotations

from typing import Any

from handfast import Agent, tool


def shredder(effects: list[str], **options: Any) -> Agent:
    """An agent that shreds pages under approval.

    Args:
        effects: Gets each page that was shredded.
        options: Of the agent.
    """

    @tool(approval=True)
    async def shred(page: str) -> str:
        """Shred a page."""
        effects.append(page)
        return f"{page} is gone"

    return Agent("shredder", tools=[shred], **options)
