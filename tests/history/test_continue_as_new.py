"""A long run goes on in fresh histories, and nobody who works with it notices."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle, WorkflowHistoryEventFilterType
from temporalio.common import RetryPolicy

from handfast import Agent, Approval, Grant, tool
from handfast.client.run import Run
from handfast.errors import RequestClosedError, RunCancelledError, RunEndedError, RunFailedError, UnknownRequestError
from handfast.history.chain import chain_of
from handfast.payloads.continuation import Carry
from handfast.payloads.requests import MEMO_REQUEST, Request
from handfast.testing import Lab, Reply, Script, call, text
from handfast.testing.script import RecordedRequest
from support.evidence import logged
from support.labs import Effects, MakeLab
from support.long_office import Clumsy, Office
from support.long_runs import SHORT, WIPES, crossing, desk, looking


async def test_a_run_over_many_histories_sends_the_same_requests(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """What the model is sent, what runs and what comes out is the same as in one history."""
    sent: list[list[Any]] = []
    for segment in (None, SHORT):
        lab = await make_lab([desk(effects)], script=looking(12), max_cached_workflows=cache)
        run = await lab.start("desk", segment_events=segment)
        result = await run.result()
        assert result.output == "done"
        assert result.turns == 13
        assert result.usage.requests == 13
        assert len(result.by_request) == 13
        sent.append([request.body for request in lab.model.requests])
        assert (len(await lab.histories(run)) > 3) is (segment is not None)
    assert sent[0] == sent[1]
    assert effects == [f"look {page}" for page in range(12)] * 2


async def test_an_open_request_keeps_its_identity(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """Id, digest and order of requests hold in each fresh history; one decision releases one effect."""
    lab = await make_lab([desk(effects)], script=looking(2, WIPES), max_cached_workflows=cache)
    run = await lab.start("desk", segment_events=SHORT)
    before = await lab.open_requests(run, 2)
    await crossing(lab, run)
    await crossing(lab, run)
    assert await run.pending() == before
    receipt = await run.approve(before[0], decided_by="lead", decision_id="d1")
    assert receipt.state == "recorded"
    await crossing(lab, run)
    again = await run.approve(before[0], decided_by="lead", decision_id="d1")
    assert again.duplicate
    with pytest.raises(RequestClosedError, match="was decided"):
        await run.reject(before[0], decided_by="late")
    await run.reject(before[1], decided_by="lead", reason="not those")
    assert (await run.result()).output == "done"
    assert [effect for effect in effects if effect.startswith("wipe")] == ["wipe temp"]
    outputs = [item["output"] for item in lab.model.requests[-1].body["input"] if "output" in item]
    assert outputs[-2:] == ["wiped temp", "not those"]


async def test_requests_are_read_over_all_histories(make_lab: MakeLab, effects: Effects) -> None:
    """A reader of requests, and the list of a server without workers, see what was carried along."""
    lab = await make_lab([desk(effects)], script=looking(2, WIPES))
    run = await lab.start("desk", segment_events=SHORT)
    opened = await lab.open_requests(run, 2)
    await crossing(lab, run)
    await lab.stop_worker()
    assert await run.pending() == opened
    assert [request async for request in _first(run, 2)] == opened
    stored = await run.approve(opened[0], decided_by="lead")
    assert stored.state == "stored"
    await lab.start_worker()
    await run.approve(opened[1], decided_by="lead")
    assert (await run.result()).output == "done"
    assert effects.count("wipe temp") == effects.count("wipe logs") == 1


async def _first(run: Run, count: int) -> Any:
    async for request in run.requests():
        yield request
        count -= 1
        if count == 0:
            return


async def test_a_decision_that_is_remembered_holds_in_fresh_histories(make_lab: MakeLab, effects: Effects) -> None:
    """What was decided for the tool answers a call of a later history."""
    last = Reply(call("wipe", {"target": "later"}, "w9"))

    def choose(request: RecordedRequest) -> Reply:
        if request.turns == 0:
            return Reply(call("wipe", {"target": "first"}, "w0"))
        return {7: last, 8: Reply(text("done"))}.get(request.turns, Reply(call("look", {"page": request.turns})))

    lab = await make_lab([desk(effects)], script=Script.of(choose))
    run = await lab.start("desk", segment_events=SHORT)
    request = await lab.next_request(run)
    await run.approve(request, decided_by="lead", remember="tool")
    assert (await run.result()).output == "done"
    assert [effect for effect in effects if effect.startswith("wipe")] == ["wipe first", "wipe later"]
    assert len(await lab.histories(run)) > 1


async def test_nested_agents_go_on_where_they_were(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """A nested loop that waits for a person goes on in a fresh history; what it spent counts once."""
    inner = desk(effects)
    outer = Agent("outer", instructions="Ask.", model="m", tools=[inner.as_tool()])

    def choose(request: RecordedRequest) -> Reply:
        ask = Reply(call("desk", {"input": "please"}, "a1"))
        if request.body["instructions"] == "Ask.":
            return ask if request.turns == 0 else Reply(text("all done"))
        return [Reply(call("look", {"page": 1})), WIPES, Reply(text("inner done"))][request.turns]

    lab = await make_lab([outer, inner], script=Script.of(choose), max_cached_workflows=cache)
    run = await lab.start("outer", segment_events=SHORT)
    opened = await lab.open_requests(run, 2)
    assert opened[0].agent_path == ["outer", "desk"]
    await crossing(lab, run)
    assert await run.pending() == opened
    for request in opened:
        await run.approve(request, decided_by="lead")
    result = await run.result()
    assert result.output == "all done"
    assert result.usage.requests == 5
    assert sorted(effects) == ["look 1", "wipe logs", "wipe temp"]


async def test_a_cancelled_call_with_a_nested_loop_stays_cancelled(make_lab: MakeLab, effects: Effects) -> None:
    """Cancelling a nested call right after the crossing withdraws what its loop had asked."""
    inner = desk(effects)
    outer = Agent("outer", instructions="Ask.", model="m", tools=[inner.as_tool()])

    def choose(request: RecordedRequest) -> Reply:
        if request.body["instructions"] == "Ask.":
            return Reply(call("desk", {"input": "please"}, "a1")) if request.turns == 0 else Reply(text("all done"))
        return WIPES

    lab = await make_lab([outer, inner], script=Script.of(choose))
    run = await lab.start("outer", segment_events=SHORT)
    await lab.open_requests(run, 2)
    await crossing(lab, run)
    await run.cancel_call("a1", reason="not needed")
    assert (await run.result()).output == "all done"
    assert effects == []
    assert "not needed" in str(lab.model.requests[-1].body["input"][-1]["output"])


async def test_limits_and_ends_reach_a_run_in_a_later_history(make_lab: MakeLab, effects: Effects) -> None:
    """Turns count over all histories; a raise, a stop and a cancel reach the one that the run is in."""
    lab = await make_lab([desk(effects, on_limit="ask")], script=looking(7))
    run = await lab.start("desk", segment_events=SHORT, max_turns=6)
    request = await lab.next_request(run)
    assert request.kind == "budget"
    await crossing(lab, run)
    await run.decide(request, Grant(turns=10), decided_by="lead")
    assert (await run.result()).turns == 8

    other = await make_lab([desk(effects)], script=looking(2, WIPES))
    waiting = await other.start("desk", segment_events=SHORT)
    await other.open_requests(waiting, 2)
    await crossing(other, waiting)
    assert await waiting.cancel("enough")
    with pytest.raises(RunCancelledError) as cancelled:
        await waiting.result()
    assert cancelled.value.reason == "enough"
    assert cancelled.value.usage is not None
    assert cancelled.value.usage.requests == 3
    assert await waiting.pending() == []


async def test_a_deadline_holds_over_histories(make_lab: MakeLab, effects: Effects) -> None:
    """A deadline is a point in time: a fresh history does not start it anew."""

    @tool(approval=Approval(deadline=timedelta(seconds=12)))
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    agent = Agent("desk", instructions="Help.", model="m", tools=[wipe])
    lab = await make_lab([agent], script=[WIPES, Reply(text("done"))])
    run = await lab.start("desk", segment_events=SHORT)
    opened = await lab.open_requests(run, 2)
    await crossing(lab, run)
    assert [request.deadline for request in await run.pending()] == [request.deadline for request in opened]
    assert (await run.result()).output == "done"
    assert effects == []


async def test_a_later_run_of_the_same_id_is_another_one(make_lab: MakeLab, effects: Effects) -> None:
    """Whoever started a run keeps reading that one, also when another has taken its id since."""
    lab = await make_lab([desk(effects)], script=looking(8))
    run = await lab.start("desk", id="same", segment_events=SHORT)
    first = await run.result()
    other = await lab.hf.start("desk", "go", id="same")
    assert (await run.status()).status == "completed"
    assert (await run.result()).by_request == first.by_request
    await other.cancel()
    with pytest.raises(RunCancelledError):
        await other.result()
    assert (await run.result()).output == "done"


async def test_old_parts_of_a_conversation_are_kept_outside(
    make_lab: MakeLab, effects: Effects, tmp_path: Path
) -> None:
    """Where workers keep large outputs, old parts of a conversation go there too, and any worker reads them."""

    @tool(effect="read_only")
    async def look(page: int) -> str:
        """Look at something."""
        return "".join(random.Random(page).choices("abcdefghijklmnop", k=16_000))

    agent = Agent("desk", instructions="Help.", model="m", tools=[look])
    sent: list[list[Any]] = []
    weights: list[int] = []
    for store in (False, tmp_path):
        lab = await make_lab([agent], script=looking(14), artifacts=store)
        run = await lab.start("desk", segment_events=SHORT)
        await lab.model.wait_for_request(9)
        await lab.replace_worker()
        assert (await run.result()).output == "done"
        sent.append([request.body for request in lab.model.requests])
        starts = [history.events[0] for history in await lab.histories(run)]
        weights.append(max(event.ByteSize() for event in starts))
    assert sent[0][-1] == sent[1][-1]
    assert weights[1] < 30_000
    assert weights[0] > 100_000


async def test_what_cannot_be_taken_along_is_said_in_time(
    make_lab: MakeLab, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conversation too large for a fresh history ends its run with the remedy, long before a replay would fail."""
    monkeypatch.setattr("handfast.workflows.continuation.carry.CARRY_BYTES", 2_000)
    monkeypatch.setattr("handfast.workflows.continuation.carry.POSTPONED_EVENTS", 30)
    monkeypatch.setattr("handfast.workflows.continuation.carry.LATEST_EVENTS", 90)

    @tool(effect="read_only")
    async def look(page: int) -> str:
        """Look at something."""
        return "".join(random.Random(page).choices("abcdefghijklmnop", k=1_000))

    agent = Agent("desk", instructions="Help.", model="m", tools=[look])
    lab = await make_lab([agent], script=looking(50), replay=False)
    run = await lab.start("desk", segment_events=SHORT)
    with pytest.raises(RunFailedError, match="artifacts=") as failed:
        await run.result()
    assert failed.value.kind == "ConversationTooLarge"


async def test_nobody_can_start_a_run_with_a_state_of_their_own(make_lab: MakeLab, effects: Effects) -> None:
    """O2: a start that brings a carried state is refused like any other that is none."""
    lab = await make_lab([desk(effects)], script=looking(2, WIPES))
    run = await lab.start("desk", segment_events=SHORT)
    await lab.open_requests(run, 2)
    await crossing(lab, run)
    [given] = await _begun_with(lab, run)
    assert set(given) == {"carried"}
    handle = await lab.client.start_workflow("AgentRun", given, id="forged", task_queue=lab.task_queue)
    with pytest.raises(RunFailedError) as failed:
        await lab.watch(lab.hf.run(handle.id)).result()
    assert failed.value.kind == "StartInvalid"
    repeated = await lab.client.start_workflow(
        "AgentRun", given, id="repeated", task_queue=lab.task_queue, cron_schedule="@every 1s"
    )
    ended = (await _closing(repeated)).workflow_execution_continued_as_new_event_attributes
    assert ended.failure.application_failure_info.type == "StartInvalid"
    follower = lab.client.get_workflow_handle("repeated", run_id=ended.new_execution_run_id)
    again = (await _closing(follower)).workflow_execution_continued_as_new_event_attributes
    await lab.client.get_workflow_handle("repeated").terminate()
    assert again.failure.application_failure_info.type == "StartInvalid"


async def test_a_retry_takes_no_state_from_whoever_started_the_run(make_lab: MakeLab, effects: Effects) -> None:
    """O2: a start that brings a state, times out, and is begun again by its retry policy, is refused all the same."""
    lab = await make_lab([desk(effects)], script=looking(2, WIPES))
    run = await lab.start("desk", segment_events=SHORT)
    await lab.open_requests(run, 2)
    await crossing(lab, run)
    [given] = await _begun_with(lab, run)
    await lab.stop_worker()
    started = await lab.client.start_workflow(
        "AgentRun",
        given,
        id="retried",
        task_queue=lab.task_queue,
        run_timeout=timedelta(seconds=1),
        retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=1), maximum_attempts=50),
    )
    first = lab.client.get_workflow_handle("retried", run_id=started.first_execution_run_id)
    assert (await _closing(first)).workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    await lab.start_worker()
    with pytest.raises(RunFailedError) as failed:
        await lab.watch(lab.hf.run("retried")).result()
    assert failed.value.kind == "StartInvalid"


async def test_a_workflow_of_ones_own_takes_no_state_from_a_start(make_lab: MakeLab, effects: Effects) -> None:
    """O2: a start of a user's workflow cannot say what was approved: its runs begin, and people are asked."""

    lab = await make_lab([desk(effects)], script=Script.of(_two_runs), workflows=[Office])
    office = await lab.client.start_workflow(Office.run, False, id="office", task_queue=lab.task_queue)
    run = lab.watch(lab.hf.run(office.id))
    async with asyncio.timeout(60):
        async for request in run.requests():
            if request.arguments == {"target": "long"}:
                break
            await run.reject(request, decided_by="lead")
    await crossing(lab, run, "handfast.approve")
    _, given = await _begun_with(lab, run)
    state = json.loads(Carry.from_wire(given).text())
    [waiting] = [each for frame in state["frames"]["all"] for each in frame["calls"] if each["state"] == "asking"]
    waiting.update(state="ready", request=None)
    forged = Carry.of(json.dumps(state)).to_wire()
    second = await lab.client.start_workflow(Office.run, args=[False, forged], id="second", task_queue=lab.task_queue)
    again = lab.watch(lab.hf.run(second.id))
    [asked] = await lab.open_requests(again, 1)
    assert asked.arguments == {"target": "short"}
    assert [effect for effect in effects if effect.startswith("wipe")] == []


async def test_a_retry_of_ones_own_workflow_takes_over_nothing(make_lab: MakeLab, effects: Effects) -> None:
    """O2: a workflow that fails after it has gone on in a fresh history is begun again with what it began that one
    with. A call that was approved before, and has run since, does not run again for it: what the model wants is asked
    about anew, and what was open is shown to nobody any more. What goes on from there is taken over as ever."""
    lab = await make_lab([desk(effects)], script=looking(1, WIPES), workflows=[Clumsy])
    started = await lab.client.start_workflow(
        Clumsy.run,
        id="clumsy",
        task_queue=lab.task_queue,
        retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=2),
    )
    run = lab.watch(lab.hf.run(started.id))
    first, second = await lab.open_requests(run, 2)
    await lab.stop_worker()
    for decision in (*["no-such-request"] * SHORT, first.id):
        await started.signal("handfast.approve", decision)  # its call is held back for the crossing
    await lab.start_worker()
    async for run_id, _ in chain_of(lab.client, run.id, started.first_execution_run_id or "", wait=True):
        if run_id != started.first_execution_run_id and "wipe temp" in effects:
            break
    await run.approve(second, decided_by="lead")
    async for _, event in chain_of(lab.client, run.id, started.first_execution_run_id or "", wait=True):
        if event.workflow_execution_started_event_attributes.attempt > 1:
            break  # it waits for a second before it begins
    assert second.id not in {each.id for each in await run.pending()}
    anew = await _asked_anew(lab, run, [first, second])
    [withdrawn] = await logged(lab, run, "withdrawn", 1)
    assert withdrawn.request == second.id
    assert [each for each in effects if each.startswith("wipe")] == ["wipe temp", "wipe logs"]
    with pytest.raises(UnknownRequestError):
        await run.approve(second, decided_by="lead")
    await crossing(lab, run, "handfast.approve")
    assert [each.id for each in await run.pending()] == [each.id for each in anew]
    for request in anew:
        await run.reject(request, decided_by="lead")
    assert await started.result() == "done"
    assert len([each for each in effects if each.startswith("wipe")]) == 2
    assert len(await lab.histories(run)) == 4  # left, failed, left, done; leaving the lab replays them


async def _asked_anew(lab: Lab, run: Run, asked: list[Request]) -> list[Request]:
    """Wait for the requests that open in place of those that were left behind; they alone are shown."""
    former = {each.id for each in asked}
    async with asyncio.timeout(30):
        async for request in run.requests():
            if request.id not in former:
                break
    anew = await lab.open_requests(run, 2)
    assert former.isdisjoint(each.id for each in anew)
    shown = await lab.client.get_workflow_handle(run.id).describe()
    assert {key for key in await shown.memo() if key.startswith(MEMO_REQUEST)} == {
        MEMO_REQUEST + each.id for each in anew
    }
    return anew


def _two_runs(request: RecordedRequest) -> Reply:
    """What the model says to the two runs of an `Office`: each asks once."""
    if "short" in str(request.body["input"][0]):
        return Reply(call("wipe", {"target": "short"}, "w0")) if request.turns == 0 else Reply(text("short done"))
    if request.turns == 3:
        return Reply(call("wipe", {"target": "long"}, "w1"))
    return Reply(text("long done")) if request.turns > 3 else Reply(call("look", {"page": request.turns}))


async def _begun_with(lab: Lab, run: Run) -> list[Any]:
    """The arguments of the last history of a workflow."""
    started = (await lab.histories(run))[-1].events[0].workflow_execution_started_event_attributes
    return await lab.client.data_converter.decode(list(started.input.payloads))


async def _closing(handle: WorkflowHandle[Any, Any]) -> HistoryEvent:
    """The event that closes a workflow's run."""
    async with asyncio.timeout(30):
        [event] = [
            event
            async for event in handle.fetch_history_events(
                wait_new_event=True, event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT
            )
        ]
    return event


@pytest.mark.parametrize("with_memo", [True, False], ids=["memo", "no memo"])
async def test_a_users_own_workflow_goes_on_too(make_lab: MakeLab, effects: Effects, with_memo: bool) -> None:
    """What `carry` gives goes through the user's own continue-as-new: runs under way, ended ones, and open requests.

    Where the user does not pass the memo on, the open requests are written anew.
    """

    lab = await make_lab([desk(effects)], script=Script.of(_two_runs), workflows=[Office])
    started = await lab.client.start_workflow(
        Office.run, with_memo, id=f"office-{with_memo}", task_queue=lab.task_queue
    )
    run = lab.watch(lab.hf.run(started.id))
    async with asyncio.timeout(60):
        async for request in run.requests():
            if request.arguments == {"target": "long"}:
                await crossing(lab, run, "handfast.approve")
                assert await lab.open_requests(run, 1) == [request]
            await run.approve(request, decided_by="lead")
    assert await started.result() == ["short done", "long done"]
    assert [effect for effect in effects if effect.startswith("wipe")] == ["wipe short", "wipe long"]
    assert len(await lab.histories(run)) > 1


async def test_decisions_that_race_a_crossing_count_once(make_lab: MakeLab, effects: Effects) -> None:
    """Updates that come while a run goes on in a fresh history are taken there: none is lost, none counts twice."""

    def choose(request: RecordedRequest) -> Reply:
        turn = request.turns
        if turn == 5:
            return Reply(text("done"))
        return Reply(*(call("wipe", {"target": f"{turn}-{index}"}, f"w{turn}-{index}") for index in range(6)))

    lab = await make_lab([desk(effects)], script=Script.of(choose))
    run = await lab.start("desk", segment_events=SHORT)
    async with asyncio.timeout(120), asyncio.TaskGroup() as deciding:
        async for request in run.requests():
            for decision in ("once", "twice"):
                deciding.create_task(_approve(run, request.id, f"{request.id}-{decision}"))
    assert (await run.result()).output == "done"
    assert sorted(effects) == sorted(f"wipe {turn}-{index}" for turn in range(5) for index in range(6))
    assert len(await lab.histories(run)) > 3


async def _approve(run: Run, request: str, decision_id: str) -> None:
    """Approve, as one of two who do so at the same time."""
    try:
        await run.approve(request, decided_by=decision_id, decision_id=decision_id)
    except RequestClosedError:
        return
    except RunEndedError:
        assert (await run.status()).status == "completed"
