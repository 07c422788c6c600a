"""Fault row XL3: what is encrypted for one workflow is read wherever that workflow goes, and nowhere else."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.enums.v1 import EventType, ResetReapplyType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Schedule, ScheduleActionStartWorkflow, ScheduleSpec
from temporalio.converter import WorkflowSerializationContext

from handfast import Agent, AgentHost, RunContext, ToolContext, tool
from handfast.encryption.codec import encrypted
from handfast.encryption.converter import of_workflow
from handfast.errors import RunCancelledError
from handfast.server import EmbeddedServer
from handfast.testing import Hang, Lab, Reply, Script, call, text
from support.clear import clear, client_with, ring
from support.evidence import events_of, failed_tasks, logged, send_signal
from support.labs import Effects, MakeLab
from support.long_runs import WIPES, desk as busy_desk, looking

DONE = Reply(text("done"))


def desk(effects: Effects) -> Agent:
    """An agent with a gated tool that says how far it is, one that fails, and a nested agent."""

    @tool(approval=True)
    async def wipe(ctx: ToolContext[Any], target: str) -> str:
        """Delete a target."""
        ctx.progress(f"wiping {target}")
        effects.append(target)
        return f"wiped {target}"

    @tool(effect="read_only")
    async def broken(target: str) -> str:
        """Fail."""
        raise ValueError(f"no {target} here")

    inner = Agent("inner", model="m", description="Helps.", tools=[wipe])
    return Agent("desk", instructions="Help.", model="m", tools=[wipe, broken, inner.as_tool()])


async def histories(lab: Lab, id: str) -> list[str]:
    """What stands in the clear in all histories of a run."""
    run = lab.hf.run(id)
    return [each for history in await lab.histories(run) for each in clear(history.events)]


async def test_a_run_is_encrypted_from_its_start_to_its_end(
    make_lab: MakeLab, server: EmbeddedServer, effects: Effects, cache: int
) -> None:
    """XL3: arguments, results, requests, decisions, failures, updates: no payload of a history is in the clear, and
    everybody who has the key reads all of it."""
    script = [
        Reply(call("wipe", {"target": "t"}), call("broken", {"target": "b"}), call("inner", {"input": "i"})),
        Reply(call("wipe", {"target": "nested"})),
        DONE,
        DONE,
    ]
    client = await client_with(server, ring("k1"))
    lab = await make_lab([desk(effects)], script=script, client=client, max_cached_workflows=cache)
    run = await lab.start("desk", "clean up", context=None)
    for request in await lab.open_requests(run, 2):
        await run.approve(request, decided_by="lead", note="go ahead")
    assert (await run.result()).output == "done"
    assert sorted(effects) == ["nested", "t"]
    assert any("no b here" in str(each) for each in lab.model.requests[-1].body["input"])
    assert await histories(lab, run.id) == []
    assert await failed_tasks(lab, run) == 0
    assert len([event async for event in run.events(wait=False)]) > 10


async def test_over_fresh_histories(make_lab: MakeLab, server: EmbeddedServer, effects: Effects) -> None:
    """XL3: a run that goes on in fresh histories carries its state and its open requests encrypted."""
    client = await client_with(server, ring("k1"))
    lab = await make_lab([busy_desk(effects)], script=looking(8, WIPES), client=client)
    run = await lab.start("desk", segment_events=40)
    for request in await lab.open_requests(run, 2):
        await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert len(await lab.histories(run)) > 1
    assert await histories(lab, run.id) == []


async def test_after_a_reset(make_lab: MakeLab, server: EmbeddedServer, effects: Effects) -> None:
    """XL3: a run that is reset reads what it had before, and goes on."""
    client = await client_with(server, ring("k1"))
    script = [Reply(call("wipe", {"target": "t"})), Reply(call("wipe", {"target": "t"})), DONE]
    lab = await make_lab([desk(effects)], script=script, client=client, replay=False)
    run = await lab.start("desk")
    await lab.next_request(run)
    first = next(
        event.event_id
        for event in await events_of(lab, run)
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    )
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=run.id),
            workflow_task_finish_event_id=first,
            request_id=uuid.uuid4().hex,
            reset_reapply_type=ResetReapplyType.RESET_REAPPLY_TYPE_NONE,
        )
    )
    again = lab.hf.run(run.id)
    request = await lab.next_request(again)
    await again.approve(request, decided_by="lead")
    assert (await again.result()).output == "done"
    assert clear(await events_of(lab, again)) == []


@workflow.defn(sandboxed=False)
class Front:
    """A workflow of a user's own: a child run, a run in itself, a signal to another workflow, and a failure."""

    @workflow.init
    def __init__(self, peer: str) -> None:
        self.agents = AgentHost()

    @workflow.run
    async def run(self, peer: str) -> list[Any]:
        """Have both agents run, and tell the peer to stop."""
        child = await workflow.execute_child_workflow(
            "AgentRun", {"agent": "teller", "input": "as a child"}, id=f"{workflow.info().workflow_id}-child"
        )
        own = await self.agents.run("teller", "in here")
        failed = ""
        try:
            await workflow.execute_child_workflow(
                "AgentRun", {"agent": "nobody", "input": "x"}, id=f"{workflow.info().workflow_id}-bad"
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            failed = str(error.__cause__)
        await workflow.get_external_workflow_handle(peer).signal("stop", {"reason": "the front is done"})
        return [child["output"], own.output, failed]


async def test_between_workflows(make_lab: MakeLab, server: EmbeddedServer, effects: Effects) -> None:
    """XL3: children, their failures, and signals between workflows are read by the one that they are for; a memo and a
    summary of the user's are encrypted too."""
    client = await client_with(server, ring("k1"))
    teller = Agent("teller", model="m")
    script = Script.of(
        lambda request: Reply(call("wipe", {"target": "t"})) if "peer" in str(request.body["input"]) else DONE
    )
    lab = await make_lab([desk(effects), teller], script=script, client=client, workflows=[Front])
    peer = await lab.start("desk", "I am the peer")
    await lab.next_request(peer)
    handle = await client.start_workflow(
        Front.run,
        peer.id,
        id=f"front-{uuid.uuid4().hex[:8]}",
        task_queue=lab.task_queue,
        memo={"customer": "Smith"},
        static_summary="a front",
    )
    child, own, failed = await handle.result()
    assert (child, own) == ("done", "done")
    assert "nobody" in failed
    assert (await handle.describe()).workflow_type == "Front"
    assert await (await handle.describe()).memo_value("customer") == "Smith"
    stopped = [each async for each in lab.hf.run(peer.id).events(wait=False)]
    assert stopped
    request = await lab.next_request(peer)
    await peer.reject(request, decided_by="lead")
    assert (await peer.result()).turns == 1
    for id in (peer.id, handle.id, f"{handle.id}-child", f"{handle.id}-bad"):
        assert clear((await client.get_workflow_handle(id).fetch_history()).events) == []


async def test_a_schedule_starts_runs(make_lab: MakeLab, server: EmbeddedServer) -> None:
    """XL3: a schedule adds the time to the workflow id that the argument was encrypted for; it is read nevertheless."""
    client = await client_with(server, ring("k1"))
    began: asyncio.Queue[str] = asyncio.Queue()

    def instructions(ctx: RunContext) -> str:
        began.put_nowait(ctx.run_id)
        return "Tell."

    lab = await make_lab([Agent("teller", model="m", instructions=instructions)], script=[DONE], client=client)
    id = f"nightly-{uuid.uuid4().hex[:8]}"
    action = ScheduleActionStartWorkflow(
        "AgentRun", {"agent": "teller", "input": "x"}, id=id, task_queue=lab.task_queue
    )
    schedule = await client.create_schedule(f"s-{id}", Schedule(action=action, spec=ScheduleSpec()))
    await schedule.trigger()
    run = lab.watch(lab.hf.run(await asyncio.wait_for(began.get(), 30)))
    assert run.id.startswith(f"{id}-20")
    assert (await run.result()).output == "done"
    assert clear(await events_of(lab, run)) == []
    await schedule.delete()


async def test_the_reason_of_a_cancellation_is_encrypted(
    make_lab: MakeLab, server: EmbeddedServer, effects: Effects
) -> None:
    """XL3: Temporal keeps the reason of a cancel as plain text; it is put there encrypted, and still read."""
    client = await client_with(server, ring("k1"))
    lab = await make_lab([desk(effects)], script=[Hang()], client=client)
    run = await lab.start("desk")
    await lab.model.wait_for_request(1)
    await run.cancel("Smith called it off")
    with pytest.raises(RunCancelledError, match="Smith called it off"):
        await run.result()
    assert "Smith" not in str(await events_of(lab, run))


async def test_nothing_is_read_elsewhere(make_lab: MakeLab, server: EmbeddedServer, effects: Effects) -> None:
    """XL3: a decision that was encrypted for another workflow, changed, or not encrypted is refused, and visibly so."""
    client = await client_with(server, ring("k1"))
    lab = await make_lab([desk(effects)], script=[Reply(call("wipe", {"target": "t"})), DONE], client=client)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    approval = [{"id": request.id, "decided_by": "mallory"}]
    mine = await of_workflow(client, run.id).encode(approval)
    other = await of_workflow(client, "another").encode(approval)
    foreign = await encrypted(None, ring("k2")).with_context(_context(run.id)).encode(approval)
    changed = Payload(metadata=mine[0].metadata, data=mine[0].data[:-1] + bytes([mine[0].data[-1] ^ 1]))
    moved = Payload(metadata={**other[0].metadata, "handfast-workflow": run.id.encode()}, data=other[0].data)
    plain = (await client_with(server, None)).data_converter.payload_converter.to_payloads(approval)
    refused = [*other, *foreign, changed, moved, *plain, Payload(metadata=mine[0].metadata, data=b"")]
    for payload in refused:
        await send_signal(lab, run, "approve", [payload])
    log = await logged(lab, run, "refused", len(refused))
    assert [each.why and each.why.rpartition("decoded: ")[2] for each in log] == [
        "it was encrypted for another workflow",
        "it is encrypted with the key 'k2', which is not in this key ring",
        "it was changed after it was encrypted",
        "it was changed after it was encrypted",
        "it is not encrypted, and encryption is demanded here",
        "it was changed after it was encrypted",
    ]
    assert effects == []
    await send_signal(lab, run, "approve", mine)
    assert (await run.result()).output == "done"
    assert await failed_tasks(lab, run) == 0


def _context(id: str) -> WorkflowSerializationContext:
    return WorkflowSerializationContext(namespace="default", workflow_id=id)
