"""Scenario row P15: workers of different deploys on one task queue."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio.client import Client

from handfast import Agent, GiveUp, Ran, Run, RunAgain, ToolContext, tool
from handfast.history.reader import history_of
from handfast.testing import Lab, Reply, Script, call, text
from handfast.workflows.loop.verdicts import NOT_RUN
from support.desk import DONE, desk, outputs
from support.labs import Effects, MakeLab

WIPE = Reply(call("wipe", {"target": "t"}, "c1"))


def older() -> Agent:
    """The same agent, from before it had its tools."""
    return Agent("desk", model="m")


async def test_the_call_goes_to_a_worker_that_has_the_tool(make_lab: MakeLab, effects: Effects) -> None:
    """P15: approved while only an older worker runs, the call waits for one that has it; the model never knows."""
    lab = await make_lab([desk(effects)], script=[WIPE, DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.stop_worker()
    await lab.start_worker([older()])
    await run.approve(request, decided_by="lead")
    async for event in history_of(lab.client.get_workflow_handle(run.id), wait=True):
        if event.HasField("timer_started_event_attributes"):
            break  # the older worker refused the call, and the run waits before it tries again
    await lab.stop_worker()
    await lab.start_worker([desk(effects)])
    await run.result()
    assert outputs(lab) == [("c1", "wiped t")]
    assert effects == ["wipe t"]


async def test_what_is_asked_before_and_after_a_call_goes_there_too(make_lab: MakeLab) -> None:
    """P15: whether an approval still holds, and what became of a call in doubt, is asked of a worker that has the tool:
    an older one leaves it to that, and neither a person nor the model reads about it."""
    asked: list[str] = []

    async def still(_context: ToolContext, _arguments: Any) -> None:
        asked.append("revalidate")

    async def verify(_context: ToolContext) -> Ran:
        asked.append("verify")
        return Ran(output="wiped t")

    @tool(approval=True, revalidate=still, verify=verify, timeout=timedelta(seconds=0.2))
    async def wipe(target: str) -> str:
        """Never come back."""
        asked.append(target)
        await asyncio.Event().wait()
        return "never"

    newer = Agent("desk", model="m", tools=[wipe])
    lab = await make_lab([newer], script=[WIPE, DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.stop_worker()
    await lab.start_worker([older()])
    await run.approve(request, decided_by="lead")
    await refused(lab, run)
    assert asked == []
    await lab.stop_worker()
    await lab.start_worker([newer])
    assert (await run.result()).output == "done"
    assert asked == ["revalidate", "t", "verify"]
    assert outputs(lab) == [("c1", "wiped t")]
    assert [event.type async for event in run.events()].count("request_opened") == 1


async def refused(lab: Lab, run: Run) -> None:
    """Wait until a worker has left an evaluation to another one: it is tried again, which no event tells."""
    handle = lab.client.get_workflow_handle(run.id)
    async with asyncio.timeout(30):
        while True:
            for pending in (await handle.describe()).raw_description.pending_activities:
                if pending.last_failure.application_failure_info.type == "Missing":
                    return


async def test_after_two_minutes_a_person_is_told(make_lab: MakeLab, effects: Effects, skipping_client: Client) -> None:
    """P15: no worker has the tool for two minutes: a request says so; running again finds the worker that came."""
    lab = await make_lab([desk(effects)], script=[WIPE, DONE], client=skipping_client)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.stop_worker()
    await lab.start_worker([older()])
    await run.approve(request, decided_by="lead")
    doubt = await lab.next_request(run)
    assert doubt.kind == "in_doubt"
    assert doubt.reason == "no worker has this tool; it has not run"
    assert (doubt.requested_at - request.requested_at).total_seconds() >= 120
    await lab.stop_worker()
    await lab.start_worker([desk(effects)])
    await run.decide(doubt, RunAgain(), decided_by="lead")
    await run.result()
    assert outputs(lab) == [("c1", "wiped t")]
    assert effects == ["wipe t"]


async def test_a_missing_agent_is_a_request_too(make_lab: MakeLab, effects: Effects, skipping_client: Client) -> None:
    """P15: an agent that vanishes in the middle of a run is a visible request, not an error for the model."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    both = [Agent("desk", model="m", tools=[wipe]), Agent("other", model="m", tools=[wipe])]
    lab = await make_lab(both, script=[WIPE, DONE], client=skipping_client)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.stop_worker()
    await lab.start_worker(both[1:])
    await run.approve(request, decided_by="lead")
    doubt = await lab.next_request(run)
    assert doubt.tool is None
    assert doubt.verdicts == ["run_again", "give_up"]
    await lab.stop_worker()
    await lab.start_worker(both)
    await run.decide(doubt, RunAgain(), decided_by="lead")
    assert (await run.result()).output == "done"
    assert effects == ["t"]


async def test_giving_up_on_a_call_that_no_worker_can_start(
    make_lab: MakeLab, effects: Effects, skipping_client: Client
) -> None:
    """A person who gives up on a call that no worker has leaves the run healthy."""
    script = Script([WIPE, Reply(text("without it"))])
    lab = await make_lab([desk(effects)], script=script, client=skipping_client)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.stop_worker()
    await lab.start_worker([older()])
    await run.approve(request, decided_by="lead")
    doubt = await lab.next_request(run)
    await run.decide(doubt, GiveUp(), decided_by="lead")
    assert (await run.result()).output == "without it"
    assert outputs(lab) == [("c1", NOT_RUN)]
    assert effects == []
