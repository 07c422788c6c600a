"""Scenario rows O6, P2, P3, P10 and P11: what holds while a run waits for a person."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType

from handfast import Agent, Approval, Handfast, RunContext, handoff, tool
from handfast.errors import RunFailedError
from handfast.testing import Reply, call, text
from support.desk import outputs
from support.evidence import failed_tasks, logged
from support.labs import Effects, MakeLab
from support.lists import eventually
from support.waits import DONE, WIPE, until_fired, wiper


async def test_workers_are_waited_for_by_all_that_a_run_needs(make_lab: MakeLab, effects: Effects) -> None:
    """P10: where workers are down just when a run has asked its agents' own functions for something that it cannot go
    on without, it waits for them: none of these evaluations has an end that a few minutes' outage could reach."""
    helper = Agent("helper", model="m", on_max_turns=lambda ctx, limit: "that is all")
    nested = Agent("nested", model="m").as_tool(
        input_builder=lambda ctx, arguments: arguments.input, output_extractor=lambda ctx, run: run.output
    )
    desk = Agent(
        "desk",
        model="m",
        tools=[*wiper(effects).tools, nested],
        handoffs=[handoff(helper, filter=lambda ctx, history: history.items)],
        max_turns=3,
        rejection_text=lambda ctx, rejection: "not now",
    )
    script = [
        Reply(call("wipe", {"target": "t"}, "c1"), call("nested", {"input": "hello"}, "c2")),
        Reply(text("nested has said")),
        Reply(call("transfer_to_helper", {}, "c3")),
        Reply(call("nothing", {}, "c4")),
    ]
    lab = await make_lab([desk], script=script)
    run = await lab.start("desk")
    await run.reject(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).output == "that is all"
    history = await lab.client.get_workflow_handle(run.id).fetch_history()
    scheduled = [
        event.activity_task_scheduled_event_attributes
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]
    asked = [each for each in scheduled if each.activity_type.name == "handfast.evaluate"]
    assert len(asked) == 5  # the rejection's words, input and output of the nested agent, the filter, the last words
    assert [each.schedule_to_close_timeout.ToTimedelta() for each in asked] == [timedelta(0)] * 5


async def test_a_tools_time_begins_when_it_does(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """O6: a call that waited for its approval longer than its own timeout still has all of that time to run in; the
    approval's deadline is a time of its own, with a default."""

    @tool(approval=True, timeout=timedelta(milliseconds=500))
    async def quick(name: str) -> str:
        """Do something quickly."""
        effects.append(name)
        return f"{name} done"

    @tool(approval=Approval(deadline=timedelta(seconds=1)))
    async def urgent(name: str) -> str:
        """Wait for a second at most."""
        effects.append(name)
        return f"{name} done"

    lab = await make_lab(
        [Agent("desk", model="m", tools=[quick, urgent])],
        script=[Reply(call("quick", {"name": "a"}, "c1"), call("urgent", {"name": "b"}, "c2")), DONE],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk")
    first, _ = await lab.open_requests(run, 2)
    [expired] = await logged(lab, run, "expired", 1)
    assert expired.verdict == "reject"
    await run.approve(first, decided_by="lead")
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", "a done"), ("c2", "Nobody decided in time.")]
    assert effects == ["a"]


async def test_an_answer_stands_for_the_call(make_lab: MakeLab, effects: Effects) -> None:
    """P2: answered by a person, the tool does not run, and the model reads the person's words as its output."""
    lab = await make_lab([wiper(effects)], script=[WIPE, DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.replace_worker()
    receipt = await run.answer(request, "I emptied it by hand yesterday.", decided_by="lead")
    assert receipt.verdict == "answer"
    await run.result()
    assert outputs(lab) == [("c1", "I emptied it by hand yesterday.")]
    assert effects == []


@pytest.mark.parametrize("default", ["reject", "approve", "fail"])
async def test_a_deadline_holds_with_every_worker_down(make_lab: MakeLab, effects: Effects, default: Any) -> None:
    """P3: nobody decides and no worker runs at the deadline: its default applies as soon as one is back."""
    approval = Approval(deadline=timedelta(seconds=1), on_deadline=default)
    lab = await make_lab([wiper(effects, approval)], script=[WIPE, DONE])
    run = await lab.start("desk")
    await lab.next_request(run)
    await lab.stop_worker()
    await until_fired(lab, run)
    assert len(await run.pending()) == 1
    await lab.start_worker()
    if default == "fail":
        with pytest.raises(RunFailedError) as failed:
            await run.result()
        assert failed.value.kind == "DeadlineExpired"
    else:
        await run.result()
        assert outputs(lab) == [("c1", "wiped t" if default == "approve" else "Nobody decided in time.")]
    assert effects == (["wipe t"] if default == "approve" else [])
    assert await run.pending() == []


async def test_an_approval_that_comes_late_does_not_count(make_lab: MakeLab, effects: Effects) -> None:
    """P3: an approval stored after the deadline, while no worker ran, is refused; the default rejects."""
    lab = await make_lab([wiper(effects, Approval(deadline=timedelta(seconds=1)))], script=[WIPE, DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.stop_worker()
    await until_fired(lab, run)
    handle = lab.client.get_workflow_handle(run.id)
    await handle.signal("decide", {"id": request.id, "verdict": {"kind": "approve"}, "decision_id": "late"})
    await lab.start_worker()
    await run.result()
    outcome = await run.decision("late")
    assert (outcome.state, effects) == ("refused", [])


async def test_a_rejection_beats_a_default_of_approve(make_lab: MakeLab, effects: Effects) -> None:
    """P3: a rejection counts until the request is closed, also past a deadline that would have approved."""
    approval = Approval(deadline=timedelta(seconds=1), on_deadline="approve")
    lab = await make_lab([wiper(effects, approval)], script=[WIPE, DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.stop_worker()
    await until_fired(lab, run)
    handle = lab.client.get_workflow_handle(run.id)
    await handle.signal("reject", {"id": request.id, "reason": "just not", "decided_by": "lead"})
    await lab.start_worker()
    await run.result()
    assert outputs(lab) == [("c1", "just not")]
    assert effects == []


async def test_with_workers_down_requests_are_listed_and_decisions_stored(make_lab: MakeLab, effects: Effects) -> None:
    """P10: with no worker at all, what waits is listed across runs, a decision is taken and stored, and it takes effect
    when a worker is back."""
    lab = await make_lab([wiper(effects)], script=[WIPE, WIPE, DONE, DONE])
    labels = {"lab": lab.task_queue}
    runs = [await lab.start("desk", labels=labels) for _ in range(2)]
    for run in runs:
        await lab.next_request(run)
    await lab.stop_worker()
    other = Handfast(lab.client, task_queue=lab.task_queue)

    async def listed() -> list[Any]:
        found = [each for each in await other.requests() if each.run in {run.id for run in runs}]
        return found if len(found) == 2 else []

    waiting = await eventually(listed)
    receipts = await asyncio.gather(
        *(other.run(each.run).approve(each.request, decided_by="lead", decision_id=each.run) for each in waiting)
    )
    assert {receipt.state for receipt in receipts} == {"stored"}
    assert effects == []
    await lab.start_worker()
    for run in runs:
        assert (await run.result()).output == "done"
        assert (await run.decision(run.id)).state == "recorded"
    assert effects == ["wipe t"] * 2


async def test_what_waits_holds_over_a_deploy(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """P11: a deploy changes instructions, tools and the rule while a request waits: the request, its arguments and its
    decision hold, the next model call is made by the new code, and nothing fails to replay."""
    lab = await make_lab(
        [wiper(effects, Approval(reason="the old rule"), instructions="old")],
        script=[WIPE, Reply(call("wipe", {"target": "u"}, "c2"), call("look", {}, "c3")), DONE],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk")
    request = await lab.next_request(run)

    def rule(_context: RunContext[Any], _arguments: Any) -> Approval:
        return Approval(reason="the new rule")

    @tool(effect="read_only")
    async def look() -> str:
        """Look around."""
        return "seen"

    [new_wipe] = wiper(effects, rule).tools
    await lab.stop_worker()
    await lab.start_worker([Agent("desk", instructions="new", model="m", tools=[new_wipe, look], max_turns=7)])
    [still] = await run.pending()
    assert still == request
    await run.approve(still, decided_by="lead")
    second = await lab.next_request(run)
    assert (second.reason, second.arguments) == ("the new rule", {"target": "u"})
    await run.reject(second, decided_by="lead", reason="no")
    assert (await run.result()).output == "done"
    assert [each.body["instructions"] for each in lab.model.requests] == ["old", "new", "new"]
    assert outputs(lab, 3) == [("c1", "wiped t"), ("c2", "no"), ("c3", "seen")]
    assert effects == ["wipe t"]
    assert await failed_tasks(lab, run) == 0
