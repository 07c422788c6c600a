"""How long a run waits for a workflow task that was lost with its worker."""

from __future__ import annotations

from datetime import timedelta

from handfast import Agent, Handfast
from handfast.testing import Lab, Reply, text
from support.labs import MakeLab

GREETER = Agent("greeter", model="m")
HELLO = Reply(text("hello"))


async def timeout_of(lab: Lab, workflow_id: str) -> timedelta:
    """The timeout of a workflow's tasks, as the server has it."""
    described = await lab.client.get_workflow_handle(workflow_id).describe()
    return described.raw_description.execution_config.default_workflow_task_timeout.ToTimedelta()


async def test_runs_and_sessions_wait_five_seconds_for_a_lost_workflow_task(make_lab: MakeLab) -> None:
    """By default a run or session that lost a workflow task with its worker goes on after 5 s; the client may say
    otherwise."""
    lab = await make_lab([GREETER], script=[HELLO, HELLO, HELLO])
    plain = Handfast(lab.client, task_queue=lab.task_queue)
    run = lab.watch(await plain.start("greeter", "hi"))
    await run.result()
    assert await timeout_of(lab, run.id) == timedelta(seconds=5)
    session = plain.session(f"{lab.task_queue}-s", agent="greeter")
    await (await session.send("hi")).output()
    await session.close()
    assert await timeout_of(lab, session.id) == timedelta(seconds=5)
    patient = Handfast(lab.client, task_queue=lab.task_queue, task_timeout=timedelta(seconds=20))
    run = lab.watch(await patient.start("greeter", "hi"))
    await run.result()
    assert await timeout_of(lab, run.id) == timedelta(seconds=20)
