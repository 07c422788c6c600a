"""Versioned workers: a run stays with the version that it began with, and moves on when it leaves its history."""

from __future__ import annotations

import asyncio

from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import WorkflowHistory
from temporalio.common import WorkerDeploymentVersion
from temporalio.service import RPCError

from handfast import Agent, tool
from handfast.testing import Lab, Reply, Script, When, call
from handfast.worker import make_worker
from support.commands import Cli
from support.desk import DONE
from support.labs import Effects, MakeLab

TWO = """
from handfast import Agent, tool

@tool(approval=True)
async def wipe(target: str) -> str:
    '''Delete a target.'''
    return "wiped by two"

desk = Agent("desk", instructions="I am two", model="m", tools=[wipe])
"""


async def make_current(lab: Lab, build: str) -> None:
    """Route new runs, and runs that move on, to a version; the server has to have seen its workers first."""
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace="default", deployment_name=lab.task_queue, build_id=build, identity="test"
    )
    async with asyncio.timeout(30):
        while True:
            try:
                await lab.client.workflow_service.set_worker_deployment_current_version(request)
            except RPCError:
                await asyncio.sleep(0.1)
            else:
                return


def version_in(history: WorkflowHistory) -> str:
    """The build of the workers that completed the last workflow task."""
    done = [each for each in history.events if each.HasField("workflow_task_completed_event_attributes")]
    return done[-1].workflow_task_completed_event_attributes.deployment_version.build_id


async def test_a_pinned_run_moves_on_when_it_leaves_its_history(make_lab: MakeLab, effects: Effects, cli: Cli) -> None:
    """A run that began under version one stays with its workers when version two becomes the current one, and goes on
    there in a fresh history at its next quiet point; each approved call has run once."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped by one"

    (cli.directory / "two.py").write_text(TWO)
    rules = Script.rules(When(instructions="I am two", then=DONE), When(then=Reply(call("wipe", {"target": "t"}))))
    lab = await make_lab([Agent("desk", instructions="I am one", model="m", tools=[wipe])], script=rules)
    await lab.stop_worker()
    one = WorkerDeploymentVersion(deployment_name=lab.task_queue, build_id="one")
    async with make_worker(lab.client, lab.plugin(), task_queue=lab.task_queue, deployment=one):
        await make_current(lab, "one")
        run = await lab.start("desk")
        first = await lab.next_request(run)
        options = ["--deployment", lab.task_queue, "--build-id", "two"]
        await lab.spawn_worker("two", {"PYTHONPATH": str(cli.directory)}, options)
        await make_current(lab, "two")
        await run.approve(first, decided_by="lead")
        async for request in run.requests():  # what it asks before it has heard of version two
            await run.approve(request, decided_by="lead")
        assert (await run.result()).output == "done"
    said = [str(each.body["instructions"]) for each in lab.model.requests]
    assert said == ["I am one"] * (len(said) - 1) + ["I am two"]
    assert "".join(str(lab.model.requests[-1].body["input"])).count("wiped by") == len(said) - 1
    histories = await lab.histories(run)
    assert len(histories) == 2
    assert [version_in(each) for each in histories] == ["one", "two"]
