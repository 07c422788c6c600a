"""Results and messages keep the order in which they came, however a replay cuts a history into workflow tasks."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueRequest, RespondWorkflowTaskFailedRequest

from handfast import Agent, Run, tool
from handfast.errors import RequestClosedError
from handfast.history.reader import history_of
from handfast.testing import Lab, Reply, Script, call, text
from handfast.testing.script import RecordedRequest, Step
from support.labs import Effects, MakeLab

RESULT = EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
GIVEN_UP = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND
TAKEN = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
NAMES = ("ann", "ben", "cat")


def clerks(request: RecordedRequest) -> Step:
    """Three clerks at once. Each looks; two of them ask about a wipe as well."""
    if request.turns:
        return Reply(text("done"))
    if request.tool_names == ["clerk"]:
        return Reply(*[call("clerk", {"input": name}, f"o-{name}") for name in NAMES])
    who = request.first_user_text
    asks = [] if who == "cat" else [call("wipe", {"target": who}, f"w-{who}")]
    return Reply(call("look", {"at": who}, f"l-{who}"), *asks)


class Gates:
    """What holds each look back."""

    def __init__(self) -> None:
        self.begun = {name: asyncio.Event() for name in NAMES}
        self.open = {name: asyncio.Event() for name in NAMES}


@pytest.fixture
def gates() -> Gates:
    return Gates()


def office(effects: Effects, gates: Gates) -> Agent:
    """Its clerks share room for one question at a time."""

    @tool
    async def look(at: str) -> str:
        """Look at something until it is seen."""
        gates.begun[at].set()
        await gates.open[at].wait()
        return "seen"

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    clerk = Agent("clerk", description="Wipes.", model="m", tools=[look, wipe], max_open_requests=1)
    return Agent("office", model="m", tools=[clerk.as_tool()])


async def taken_in(lab: Lab, run: Run, results: int) -> None:
    """Wait until a workflow task has taken in that many results of activities."""
    async with asyncio.timeout(30):
        seen = 0
        async for event in history_of(lab.client.get_workflow_handle(run.id), wait=True):
            seen += event.event_type == RESULT
            if event.event_type == TAKEN and seen == results:
                return


async def test_two_results_that_change_nothing_and_a_decision_replay_in_their_order(
    make_lab: MakeLab, effects: Effects, gates: Gates, cache: int
) -> None:
    """XG6: a clerk and a look end in two workflow tasks that start nothing; what the approval right after them does on
    a worker that has just come, it does on every replay."""
    lab = await make_lab([office(effects, gates)], script=Script.of(clerks), max_cached_workflows=cache)
    run = await lab.start("office")
    async with asyncio.timeout(30):
        first = await lab.next_request(run)
        await asyncio.gather(*(each.wait() for each in gates.begun.values()))
    asked = str((first.arguments or {})["target"])
    for name, results in (("ben" if asked == "ann" else "ann", 5), ("cat", 7), (asked, 8)):  # cat has a last reply too
        gates.open[name].set()
        await taken_in(lab, run, results)
    await lab.replace_worker()
    async with asyncio.timeout(30):
        await run.approve(first, decided_by="lead")
        second = await lab.next_request(run)
        await run.approve(second, decided_by="lead")
        assert (await run.result()).output == "done"
    assert sorted(effects) == ["ann", "ben"]
    assert lab.model.violations == []


async def test_an_update_and_a_signal_to_a_task_that_was_lost_replay_in_one_order(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """XG6: a rejection comes by update to a worker that gives its task up, and an approval by signal meanwhile: one of
    them counts, both senders are told which, and a replay says the same."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    agent = Agent("desk", model="m", tools=[wipe])
    script = [Reply(call("wipe", {"target": "tmp"})), Reply(text("done"))]
    lab = await make_lab([agent], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.stop_worker()
    rejecting = asyncio.create_task(run.reject(request, decided_by="ann"))
    lost = await lab.client.workflow_service.poll_workflow_task_queue(
        PollWorkflowTaskQueueRequest(namespace=lab.client.namespace, task_queue=TaskQueue(name=lab.task_queue))
    )
    assert [message.protocol_instance_id for message in lost.messages] != []
    await lab.client.get_workflow_handle(run.id).signal("approve", {"id": request.id, "decided_by": "ben"})
    await lab.client.workflow_service.respond_workflow_task_failed(
        RespondWorkflowTaskFailedRequest(namespace=lab.client.namespace, task_token=lost.task_token, cause=GIVEN_UP)
    )
    await lab.start_worker()
    with pytest.raises(RequestClosedError, match="was decided \\(approve\\) by ben"):
        await rejecting
    assert (await run.result()).output == "done"
    assert effects == ["tmp"]
