"""A run that leaves a long history loses nothing that comes in just then, and is never held up for good."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio.client import (
    Client,
    Interceptor,
    OutboundInterceptor,
    StartWorkflowUpdateInput,
    TerminateWorkflowInput,
    WorkflowUpdateHandle,
)

from handfast import Agent, Handfast, tool
from handfast.client.run import Run
from handfast.errors import RunCancelledError, RunEndedError
from handfast.testing import Lab, Reply, Script, call, text
from handfast.testing.script import RecordedRequest
from support.fsspec_held import HeldFileSystem
from support.labs import Effects, MakeLab
from support.long_office import Errand, Stayer
from support.long_runs import SHORT, WIPES, desk, looking

WITHIN_S = 40
"""Deadline of a wait for an end: a run that is held up for good would have none."""


def teller() -> Agent:
    """An agent whose tool says much, so that old parts of its conversation are kept outside the history."""

    @tool(effect="read_only")
    async def look(page: int) -> str:
        """Look at something."""
        return "".join(random.Random(page).choices("abcdefghijklmnop", k=16_000))

    return Agent("desk", instructions="Help.", model="m", tools=[look])


@asynccontextmanager
async def away(lab: Lab, run: Run) -> AsyncIterator[None]:
    """While no worker is there, so much is said to the run that its next task is one to leave its history in."""
    await lab.stop_worker()
    handle = lab.client.get_workflow_handle(run.id)
    for _ in range(SHORT):
        await handle.signal("approve", "no-such-request")
    yield
    await lab.start_worker()


async def test_a_cancel_while_old_parts_are_being_kept_ends_the_run(make_lab: MakeLab) -> None:
    """K1: a cancel that comes while a run keeps old parts of its conversation outside is no cancel of that alone."""
    lab = await make_lab([teller()], script=looking(14), artifacts=HeldFileSystem.reset(held=True))
    run = await lab.start("desk", segment_events=SHORT)
    assert await asyncio.to_thread(HeldFileSystem.writing.wait, WITHIN_S)
    assert await run.cancel("enough")
    with pytest.raises(RunCancelledError):
        async with asyncio.timeout(WITHIN_S):
            await run.result()
    HeldFileSystem.go_on.set()


async def test_a_cancel_together_with_other_messages_is_not_lost(make_lab: MakeLab, effects: Effects) -> None:
    """K1: a run that leaves its history in the very task that brings a cancel ends there."""
    lab = await make_lab([desk(effects)], script=looking(2, WIPES))
    run = await lab.start("desk", segment_events=SHORT)
    await lab.open_requests(run, 2)
    async with away(lab, run):
        assert await run.cancel("enough")
    with pytest.raises(RunCancelledError):
        async with asyncio.timeout(WITHIN_S):
            await run.result()
    assert len(await lab.histories(run)) == 1


async def test_a_decision_that_is_remembered_in_the_last_task_answers_the_others(
    make_lab: MakeLab, effects: Effects
) -> None:
    """A decision for the tool that comes right before the crossing answers the open requests of that tool too."""
    lab = await make_lab([desk(effects)], script=looking(2, WIPES))
    run = await lab.start("desk", segment_events=SHORT)
    first, _ = await lab.open_requests(run, 2)
    async with away(lab, run):
        stored = {"id": first.id, "decided_by": "lead", "remember": {"of": "tool"}}
        await lab.client.get_workflow_handle(run.id).signal("approve", stored)
    async with asyncio.timeout(WITHIN_S):
        assert (await run.result()).output == "done"
    assert sorted(effects[2:]) == ["wipe logs", "wipe temp"]
    assert len(await lab.histories(run)) > 1


async def test_a_failed_store_does_not_keep_a_run_in_its_history(make_lab: MakeLab) -> None:
    """Where old parts cannot be kept outside, they are carried along; that is found out once a history."""
    lab = await make_lab([teller()], script=looking(5), artifacts=HeldFileSystem.reset(broken=True))
    run = await lab.start("desk", segment_events=SHORT)
    async with asyncio.timeout(WITHIN_S):
        assert (await run.result()).output == "done"
    crossings = len(await lab.histories(run)) - 1
    assert crossings > 0
    assert HeldFileSystem.writes == 5 * crossings


async def test_a_nested_loop_that_failed_does_not_keep_a_run_in_its_history(
    make_lab: MakeLab, effects: Effects
) -> None:
    """What a loop had under way when it failed has been ended: nothing waits for it any more."""
    began = asyncio.Event()

    @tool(effect="read_only")
    async def slow(page: int) -> str:
        """Take long."""
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    @tool(effect="read_only", on_error="fail")
    async def fails(page: int) -> str:
        """Fail while the other one runs."""
        await began.wait()
        raise ValueError("no such page")

    inner = Agent("inner", instructions="Fail.", model="m", tools=[slow, fails])
    outer = desk(effects)
    outer = Agent("desk", instructions="Help.", model="m", tools=[*outer.tools, inner.as_tool()])

    def choose(request: RecordedRequest) -> Reply:
        if request.body["instructions"] == "Fail.":
            return Reply(call("slow", {"page": 1}), call("fails", {"page": 1}))
        if request.turns == 0:
            return Reply(call("inner", {"input": "please"}))
        return Reply(call("look", {"page": request.turns})) if request.turns < 14 else Reply(text("done"))

    lab = await make_lab([outer, inner], script=Script.of(choose))
    run = await lab.start("desk", segment_events=SHORT)
    async with asyncio.timeout(WITHIN_S):
        assert (await run.result()).output == "done"
    assert len(await lab.histories(run)) > 1


class EndsFirst(Interceptor):
    """A client whose updates come to a run that has just ended."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """Put a terminate before each update."""

        class Outbound(OutboundInterceptor):
            async def start_workflow_update(self, input: StartWorkflowUpdateInput) -> WorkflowUpdateHandle[Any]:
                await self.terminate_workflow(TerminateWorkflowInput(input.id, None, None, (), None, {}, None))
                return await super().start_workflow_update(input)

        return Outbound(next)


async def test_a_run_that_ends_first_has_ended(make_lab: MakeLab, effects: Effects) -> None:
    """K9: what is said to a run that ends just before is told so, and not that there is no such run."""
    lab = await make_lab([desk(effects)], script=looking(2, WIPES))
    run = await lab.start("desk")
    await lab.open_requests(run, 2)
    config = lab.client.config(active_config=True)
    config["interceptors"] = [EndsFirst()]
    with pytest.raises(RunEndedError):
        await Handfast(Client(**config)).run(run.id).cancel_call("w1")


@pytest.mark.parametrize("kind", [Errand, Stayer], ids=["a run without a key", "after the wait"])
async def test_a_users_own_workflow_is_not_held_up(make_lab: MakeLab, effects: Effects, kind: type) -> None:
    """A run that cannot be taken along goes on to its end, and so does one for which nobody waits to leave."""
    lab = await make_lab([desk(effects)], script=looking(12), workflows=[kind])
    started = await lab.client.start_workflow(kind.__name__, id=f"office-{kind.__name__}", task_queue=lab.task_queue)
    lab.watch(lab.hf.run(started.id))
    async with asyncio.timeout(WITHIN_S):
        assert await started.result() == "done"
    assert len(effects) == 12
