"""DESIGN §6: an operator who pauses, unpauses or resets an activity cannot make an effect happen twice."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import PauseActivityRequest, ResetActivityRequest, UnpauseActivityRequest

from handfast import Agent, GiveUp, Run, tool
from handfast.activities.tool import attempts
from handfast.activities.tool.run_tool import ToolActivities
from handfast.testing import Lab, Reply, call
from handfast.testing.lab import WAIT_S
from support.crash.judge import Judge
from support.crash.till_runs import till
from support.desk import DONE, outputs
from support.labs import Effects, MakeLab
from support.task_queues import elsewhere

PAY = Reply(call("pay", {"order": "7"}, "c1"))


class Operator:
    """Somebody with Temporal's command line."""

    def __init__(self, lab: Lab, run: Run) -> None:
        self._lab = lab
        self._run = run

    async def pending(self) -> PendingActivityInfo | None:
        """The tool's activity, as the server sees it."""
        described = await self._lab.client.get_workflow_handle(self._run.id).describe()
        known = described.raw_description.pending_activities
        return next((each for each in known if each.activity_type.name.startswith("handfast.tool.")), None)

    async def sees(self, what: Callable[[PendingActivityInfo], bool]) -> PendingActivityInfo:
        """Look until the activity is so: nothing announces it."""
        async with asyncio.timeout(WAIT_S):
            while True:
                found = await self.pending()
                if found is not None and what(found):
                    return found

    async def _target(self) -> dict[str, Any]:
        found = await self.sees(lambda each: True)
        return {
            "namespace": self._lab.client.namespace,
            "execution": WorkflowExecution(workflow_id=self._run.id),
            "id": found.activity_id,
        }

    async def pause(self) -> None:
        """Pause it."""
        await self._lab.client.workflow_service.pause_activity(PauseActivityRequest(**await self._target()))

    async def unpause(self) -> None:
        """Let it go on, with everything about its attempts forgotten."""
        await self._lab.client.workflow_service.unpause_activity(
            UnpauseActivityRequest(**await self._target(), reset_attempts=True, reset_heartbeat=True)
        )

    async def reset(self) -> None:
        """Reset it, heartbeats included."""
        await self._lab.client.workflow_service.reset_activity(
            ResetActivityRequest(**await self._target(), reset_heartbeat=True)
        )


def paying(effects: Effects, begun: asyncio.Event, release: asyncio.Event, **options: Any) -> Agent:
    """An agent whose tool begins, and ends when it is let."""

    @tool(on_unknown="ask", **options)
    async def pay(order: str) -> str:
        """Pay an order."""
        effects.append(f"pay {order}")
        begun.set()
        await release.wait()
        return f"paid {order}"

    return Agent("till", tools=[pay])


async def test_what_is_paused_unpaused_and_reset_while_it_runs_ends_once(make_lab: MakeLab, effects: Effects) -> None:
    """A tool that lives through a pause, an unpause and a reset is not disturbed: it ran once, its output counts."""
    begun, release = asyncio.Event(), asyncio.Event()
    lab = await make_lab([paying(effects, begun, release)], script=[PAY, DONE])
    run = await lab.start("till")
    await asyncio.wait_for(begun.wait(), WAIT_S)
    operator = Operator(lab, run)
    await operator.pause()
    first = await operator.sees(lambda each: each.paused)
    await operator.sees(lambda each: each.last_heartbeat_time.ToDatetime() > first.last_heartbeat_time.ToDatetime())
    await operator.unpause()
    await operator.reset()
    await operator.sees(lambda each: len(each.heartbeat_details.payloads) > 0)  # a beat after it: told of the reset
    release.set()
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", "paid 7")]
    assert effects == ["pay 7"]


async def test_what_had_begun_is_not_delivered_twice_after_a_pause(
    make_lab: MakeLab, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt whose answer is lost while it is paused is delivered anew, as attempt 1 without heartbeats: the body
    is not entered again, and a person is asked."""
    begun, release = asyncio.Event(), asyncio.Event()
    original = ToolActivities._run
    seen: list[tuple[int, int]] = []

    async def run_and_lose(self: ToolActivities, arg: object) -> Any:
        info = activity.info()
        seen.append((info.attempt, len(info.heartbeat_details)))
        outcome = await original(self, arg)
        if len(seen) == 1:
            raise RuntimeError("the answer is lost")
        return outcome

    monkeypatch.setattr(ToolActivities, "_run", run_and_lose)
    lab = await make_lab([paying(effects, begun, release)], script=[PAY, DONE])
    run = await lab.start("till")
    await asyncio.wait_for(begun.wait(), WAIT_S)
    operator = Operator(lab, run)
    await operator.pause()
    release.set()
    await operator.sees(lambda each: each.HasField("last_attempt_complete_time"))
    await operator.unpause()
    doubt = await lab.next_request(run)
    assert (doubt.kind, doubt.facts and doubt.facts["ended"]) == (
        "in_doubt",
        "an earlier attempt had ended before the activity was unpaused or reset",
    )
    await run.decide(doubt, GiveUp(), decided_by="lead")
    await run.result()
    assert seen == [(1, 0), (1, 0)]
    assert effects == ["pay 7"]


async def test_what_was_paused_before_it_began_runs_without_a_doubt(make_lab: MakeLab, effects: Effects) -> None:
    """Paused, unpaused and reset while no worker had it, a call is simply run: no attempt can have been in its body."""
    queue = f"pay-{uuid.uuid4().hex[:8]}"
    begun, release = asyncio.Event(), asyncio.Event()
    release.set()
    agent = paying(effects, begun, release, task_queue=queue)
    lab = await make_lab([agent], script=[PAY, DONE])
    run = await lab.start("till")
    operator = Operator(lab, run)
    await operator.pause()
    await operator.unpause()
    await operator.reset()
    [offered] = agent.tools
    async with elsewhere(lab, queue, offered):  # type: ignore[arg-type] # the one tool that it has
        assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", "paid 7")]
    assert effects == ["pay 7"]


async def test_a_mark_that_was_taken_away_is_missed(make_lab: MakeLab, judge: Judge) -> None:
    """A worker is killed in the middle of a paused tool, and an operator has the server forget the mark: how long the
    attempt had lasted still tells that it may have begun, and it is not run again."""
    lab = await till(make_lab, judge, Reply(call("charge", {"order": "7"}, "c1")), DONE)
    judge.hold("begin charge 7")
    run = await lab.start("till")
    await run.approve(await lab.next_request(run), decided_by="lead")
    await judge.heard("begin charge 7")
    operator = Operator(lab, run)
    await operator.pause()
    await lab.kill_worker()
    judge.release("begin charge 7")
    await lab.start_worker()
    silence = attempts.SILENT_FOR + timedelta(seconds=1)
    await operator.sees(lambda each: datetime.now(UTC) - each.last_started_time.ToDatetime(tzinfo=UTC) > silence)
    await operator.unpause()
    async with asyncio.timeout(WAIT_S):
        doubt = await anext(each async for each in run.requests() if each.kind == "in_doubt")
    assert doubt.facts is not None
    assert doubt.facts["ended"] == "an earlier attempt had lasted longer than one that never begins"
    await run.decide(doubt, GiveUp(), decided_by="lead")
    await run.result()
    assert judge.lines == ["begin charge 7"]
