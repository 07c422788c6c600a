"""Scenario rows H: the events of a run, live and afterwards."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from typing import TypeVar

import pytest
from temporalio.client import (
    Client,
    FetchWorkflowHistoryEventsInput,
    Interceptor,
    OutboundInterceptor,
    WorkflowHistoryEventAsyncIterator,
)

from handfast import Handfast, Run
from handfast.errors import HistoryExpiredError, OffsetUnknownError, RunNotFoundError
from handfast.payloads.base import Payload
from handfast.payloads.events import (
    ModelReplied,
    RequestDecided,
    RequestOpened,
    RunEvent,
    RunFinished,
    RunStarted,
    ToolNotRun,
    ToolOutput,
)
from handfast.testing import Reply, call
from support.desk import DONE, MIXED, desk
from support.events import WAIT_S, so_far, to_the_end, types
from support.labs import Effects, MakeLab
from support.long_runs import SHORT, WIPES, crossing, desk as long_desk, looking

EventT = TypeVar("EventT", bound=Payload)


async def until(run: Run, kind: type[EventT], after: str | None = None) -> tuple[list[RunEvent], EventT]:
    """Follow *run* to its first event of a kind: everything up to it, and that event."""
    seen: list[RunEvent] = []
    async with asyncio.timeout(WAIT_S):
        async for event in run.events(after):
            seen.append(event)
            if isinstance(event, kind):
                return seen, event
    raise AssertionError(f"{run.id} ended without {kind.__name__}: {types(seen)}")


async def test_a_pause_is_an_event_with_all_that_a_decision_needs(make_lab: MakeLab, effects: Effects) -> None:
    """H1: what waits for a person is an event with id, agent, tool and arguments, and the stream goes on after it."""
    lab = await make_lab([desk(effects)], script=[Reply(call("wipe", {"target": "temp"}, "c1")), DONE])
    run = await lab.start("desk")
    seen, opened = await until(run, RequestOpened)
    assert types(seen) == ["run_started", "turn_started", "model_reply", "request_opened"]
    request = opened.request
    assert (request.agent, request.tool, request.call_id) == ("desk", "wipe", "c1")
    assert request.arguments == {"target": "temp"}
    assert [each.id for each in await run.pending()] == [request.id]
    await run.approve(request.id, decided_by="lead")
    rest = await to_the_end(run, opened.offset)
    assert types(rest)[-1] == "run_finished"


async def test_what_a_decision_causes_follows_on_the_same_log(make_lab: MakeLab, effects: Effects) -> None:
    """H2: decided, called, output and end follow in order after the offset; nothing that was seen comes again."""
    lab = await make_lab([desk(effects)], script=[MIXED, DONE])
    run = await lab.start("desk", requested_by="rita", labels={"team": "it"})
    pending = await lab.open_requests(run, 2)
    before = await so_far(run)
    await run.approve(pending[0], decided_by="lead", note="go ahead")
    await run.reject(pending[1], decided_by="lead", reason="keep the logs")
    await run.result()
    after = await to_the_end(run, before[-1].offset)
    whole = await to_the_end(run)
    assert whole == before + after
    offsets = [event.offset for event in whole]
    assert len({*offsets}) == len(offsets)
    decided = [event for event in after if isinstance(event, RequestDecided)]
    assert [(each.tool, each.verdict, each.by, each.why) for each in decided] == [
        ("wipe", "approve", "lead", "go ahead"),
        ("wipe", "reject", "lead", "keep the logs"),
    ]
    wiped = [event for event in whole if isinstance(event, ToolOutput) and event.tool == "wipe"]
    assert [(each.call_id, each.output) for each in wiped] == [("c1", "wiped temp")]
    assert types(after).index("request_decided") < types(after).index("tool_called")
    began, ended = whole[0], whole[-1]
    assert isinstance(began, RunStarted)
    assert (began.agent, began.input, began.labels, began.requested_by) == ("desk", "go", {"team": "it"}, "rita")
    assert isinstance(ended, RunFinished)
    assert (ended.status, ended.output, ended.turn) == ("completed", "done", 2)
    assert ended.usage == (await run.result()).usage


async def test_whoever_comes_late_or_left_sees_the_same(make_lab: MakeLab, effects: Effects) -> None:
    """H4: one follows from the start, one leaves and comes back at each offset, one comes at the end: one sequence."""
    lab = await make_lab([desk(effects)], script=[Reply(call("wipe", {"target": "temp"}, "c1")), DONE])
    run = await lab.start("desk")
    following = asyncio.create_task(to_the_end(run))
    _, opened = await until(run, RequestOpened)
    await run.approve(opened.request.id, decided_by="lead")
    await run.result()
    live, afterwards = await following, await to_the_end(run)
    assert live == afterwards
    for place, event in enumerate(afterwards):
        assert await so_far(run, event.offset) == afterwards[place + 1 :]


async def test_a_consumer_that_stalls_holds_nothing_up(make_lab: MakeLab, effects: Effects) -> None:
    """H4: a consumer takes one event and stalls; the run goes on to its end, and the consumer misses nothing."""
    lab = await make_lab([desk(effects)], script=[Reply(call("look", {"check": "fans"}, "c1")), DONE])
    run = await lab.start("desk")
    stalled = run.events()
    first = await anext(stalled)
    assert (await run.result()).output == "done"
    async with asyncio.timeout(WAIT_S):
        rest = [event async for event in stalled]
    assert [first, *rest] == await to_the_end(run)


async def test_events_need_no_worker(make_lab: MakeLab, effects: Effects) -> None:
    """H4: with every worker gone, the events up to the open request are there all the same."""
    lab = await make_lab([desk(effects)], script=[MIXED, DONE])
    run = await lab.start("desk")
    await lab.open_requests(run, 2)
    _, output = await until(run, ToolOutput)
    await lab.stop_worker()
    assert await so_far(run, output.offset) == []
    assert "request_opened" in types(await so_far(run))


@pytest.mark.parametrize("offset", ["", "nonsense", "1.0", "no-such-run:1.0", "{run}:99999.0", "{other}:1.0"])
async def test_an_offset_of_another_run_is_refused(make_lab: MakeLab, effects: Effects, offset: str) -> None:
    """H4: an offset that is no place in this run is a typed error at once, whether it reads like one or not."""
    lab = await make_lab([desk(effects)], script=[DONE, DONE])
    run, other = await lab.start("desk"), await lab.start("desk")
    await run.result()
    await other.result()
    mine, theirs = [(await to_the_end(each))[0].offset.partition(":")[0] for each in (run, other)]
    with pytest.raises(OffsetUnknownError, match="no place in the events"):
        await so_far(run, offset.format(run=mine, other=theirs))


async def test_a_failure_before_the_first_event_is_an_event(make_lab: MakeLab, effects: Effects) -> None:
    """H6: a run that cannot even begin tells so: it ends with the type and text of its failure."""
    lab = await make_lab([desk(effects)])
    handle = await lab.client.start_workflow(
        "AgentRun", {"agent": 7}, id=f"bad-{lab.task_queue}", task_queue=lab.task_queue
    )
    events = await to_the_end(lab.watch(lab.hf.run(handle.id)))
    assert types(events) == ["run_started", "run_finished"]
    ended = events[-1]
    assert isinstance(ended, RunFinished)
    assert (ended.status, ended.failure) == ("failed", "StartInvalid")
    assert "agent" in (ended.message or "")


async def test_a_model_that_refuses_and_a_run_that_is_unknown(make_lab: MakeLab, effects: Effects) -> None:
    """H6: an agent that no worker knows fails with an event; of a run that never was, the first step says so."""
    lab = await make_lab([desk(effects)])
    with pytest.raises(RunNotFoundError):
        await to_the_end(lab.hf.run("never-was"))
    run = await lab.start("desk")
    await run.cancel("not needed")
    events = await to_the_end(run)
    ended = events[-1]
    assert isinstance(ended, RunFinished)
    assert (ended.status, ended.message) == ("cancelled", "not needed")
    assert "cancel_requested" in types(events)


async def test_events_go_on_over_fresh_histories(make_lab: MakeLab, effects: Effects) -> None:
    """H4: over continue-as-new, with requests open, the events are one sequence, from any offset in any history."""
    lab = await make_lab([long_desk(effects)], script=looking(7, WIPES))
    run = await lab.start("desk", segment_events=SHORT)
    following = asyncio.create_task(to_the_end(run))
    first, second = await lab.open_requests(run, 2)
    await crossing(lab, run)
    await run.approve(first, decided_by="lead")
    await run.reject(second, decided_by="lead", reason="keep it")
    await run.result()
    live, afterwards = await following, await to_the_end(run)
    assert live == afterwards
    assert len({event.offset.partition(":")[0] for event in live}) == len(await lab.histories(run)) > 3
    happened = types(live)
    assert "continued" not in happened
    assert [happened.count(kind) for kind in ("run_started", "run_finished", "request_opened")] == [1, 1, 2]
    turns = [event.turn for event in live if isinstance(event, ModelReplied)]
    assert turns == [*range(1, 10)]
    assert happened.count("turn_started") == len(turns)
    ended = {event.call_id: event for event in live if isinstance(event, ToolOutput | ToolNotRun)}
    assert ended["w1"].output == "wiped temp"
    assert ended["w2"].output == "keep it"
    for event in live[:: len(live) // 6]:
        assert await so_far(run, event.offset) == live[live.index(event) + 1 :]


class Expired(Interceptor):
    """Asks for a history that the server never had in place of one: it answers as for one that it has dropped."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        gone = self.run_id

        class Outbound(OutboundInterceptor):
            def fetch_workflow_history_events(
                self, input: FetchWorkflowHistoryEventsInput
            ) -> WorkflowHistoryEventAsyncIterator:
                if input.run_id == gone:
                    input = dataclasses.replace(input, run_id=str(uuid.uuid4()))
                return super().fetch_workflow_history_events(input)

        return Outbound(next)


async def test_a_history_that_the_server_dropped_is_said_to_be_gone(make_lab: MakeLab, effects: Effects) -> None:
    """H4: with the first history of a run gone, the start and offsets in it are errors; later offsets go on."""
    lab = await make_lab([long_desk(effects)], script=looking(7))
    started = await lab.start("desk", segment_events=SHORT)
    events = await to_the_end(started)
    first = events[0].offset.partition(":")[0]
    config = lab.client.config()
    config["interceptors"] = [Expired(first)]
    run = Handfast(Client(**config)).run(started.id)
    for after in (None, events[0].offset):
        with pytest.raises(HistoryExpiredError, match=first):
            await so_far(run, after)
    later = [event for event in events if not event.offset.startswith(first)]
    assert await so_far(run, later[0].offset) == later[1:]
