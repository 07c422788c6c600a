"""Applications for the command line to serve."""

from __future__ import annotations

from handfast import Agent, tool
from handfast.testing import Lab, Reply, ResponsesServer, call, text
from support.commands import Cli


@tool(approval=True)
async def wipe(target: str) -> str:
    """Delete a target."""
    return f"wiped {target}"


DESK = Agent("desk", instructions="Help.", model="m", tools=[wipe])


ASKS = Reply(call("wipe", {"target": "temp"}, "c1"))


DONE = Reply(text("all done"))


def on(lab: Lab) -> tuple[str, str]:
    """The option that leads to the lab's worker."""
    return "--task-queue", lab.task_queue


def with_model(cli: Cli, model: ResponsesServer) -> Cli:
    """The same command line with a key, for a scripted model."""
    effects = str(cli.directory)
    return cli.with_({"OPENAI_API_KEY": "test", "OPENAI_BASE_URL": model.base_url, "EFFECTS": effects})


LONG = "Nine words of a reply that is written slowly, piece by piece."
