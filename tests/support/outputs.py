"""Tools that return a given value, and the outcomes in a history."""

from __future__ import annotations

import json
from typing import Any

from temporalio.client import WorkflowHandle

from handfast import Agent, Run, tool
from handfast.history.reader import history_of
from handfast.payloads.tool_call import ToolOutcome
from handfast.testing import Lab, Reply, call, text

DONE = Reply(text("done"))


PAUSE = call("sign", {}, "last")


def returning(name: str, value: Any) -> Any:
    """A tool that returns *value*."""

    def body() -> Any:
        """Return something."""
        return value

    return tool(effect="read_only", name=name)(body)


def agent(**values: Any) -> Agent:
    """An agent with one tool for each value, and one that waits for a person."""

    @tool(approval=True)
    def sign() -> str:
        """Sign."""
        return "signed"

    return Agent("desk", model="m", tools=[*(returning(name, value) for name, value in values.items()), sign])


async def paused_in_the_middle(lab: Lab, count: int) -> Run:
    """Run *count* free tools beside a gated one, restart the worker while it waits, and finish."""
    run = await lab.start("desk")
    request = await lab.next_request(run)
    settled = 0
    async for event in history_of(lab.client.get_workflow_handle(run.id), wait=True):
        settled += event.HasField("activity_task_completed_event_attributes")
        if settled == count + 1:  # the model call, then the tools
            break
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    await run.result()
    return run


async def tool_outcomes(lab: Lab, run: Run) -> list[ToolOutcome]:
    """What the history holds of the calls."""
    handle: WorkflowHandle[Any, Any] = lab.client.get_workflow_handle(run.id)
    found: list[ToolOutcome] = []
    for event in (await handle.fetch_history()).events:
        for payload in event.activity_task_completed_event_attributes.result.payloads:
            value = json.loads(payload.data)
            if "kind" in value:
                found.append(ToolOutcome.from_wire(value))
    return found
