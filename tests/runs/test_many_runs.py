"""Many runs: started and decided at once, found again by label and tool, and kept below a model's rate limit."""

from __future__ import annotations

import time
from collections import deque
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    ScheduleState,
)

from handfast import Agent, Approval, Approve, Compact, Decided, OpenRequest, Reject, RunContext, Started, tool
from handfast.errors import PayloadInvalidError, RequestClosedError, RunEndedError, RunExistsError, RunNotFoundError
from handfast.payloads.requests import Request
from handfast.testing import Compacted, Fail, Reply, Script, When, call, text
from handfast.testing.responses_server import RecordedRequest
from handfast.testing.script import Usage
from handfast.worker import make_worker
from support.desk import DONE, desk
from support.labs import Effects, MakeLab
from support.lists import eventually

GREETER = Agent("greeter", model="m")


class Metered:
    """A model that answers so many requests a second, and refuses the others as a provider does."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._lately: deque[float] = deque()
        self.refused = 0

    def __call__(self, request: RecordedRequest) -> Reply | Fail:
        """Choose the step."""
        now = time.monotonic()
        while self._lately and now - self._lately[0] > 1:
            self._lately.popleft()
        if len(self._lately) >= self._per_second:
            self.refused += 1
            return Fail(429, retry_after=1)
        self._lately.append(now)
        return Reply(text("hello"))


async def test_many_are_started_and_each_has_an_answer(make_lab: MakeLab) -> None:
    """Starts keep their order and fail one by one; the same ids again attach, or say that they go on."""
    lab = await make_lab([GREETER], script=Script.of(Metered(1000)))
    items: list[dict[str, Any]] = [
        {"agent": "greeter", "input": f"hello {number}", "id": f"{lab.task_queue}-{number}"} for number in range(12)
    ]
    items[5]["input"] = ""
    told: list[int] = []
    started = await lab.hf.start_many(items, concurrency=4, on_result=lambda each: told.append(each.index))
    assert [each.index for each in started] == list(range(12))
    assert sorted(told) == list(range(12))
    assert isinstance(started[5].error, PayloadInvalidError)
    assert started[5].run is None
    runs = [lab.watch(each.run) for each in started if each.run is not None]
    assert [run.id for run in runs] == [item["id"] for item in items if item["input"]]
    assert [(await run.result()).output for run in runs] == ["hello"] * 11
    assert await lab.hf.start_many([]) == []
    with pytest.raises(TypeError, match="colour"):
        await lab.hf.start_many([*items, {"agent": "greeter", "input": "x", "colour": "red"}])
    with pytest.raises(ValueError, match="1 or more"):
        await lab.hf.start_many(items, concurrency=0)


async def test_no_failure_of_one_item_stops_another(make_lab: MakeLab) -> None:
    """Whatever is wrong with an item, its own result says it; so does that of a decision about a run that is unknown,
    or a request that is."""
    lab = await make_lab([GREETER], script=Script.of(Metered(1000)))
    plain: dict[str, Any] = {"agent": "greeter", "input": "hello"}
    odd: list[dict[str, Any]] = [
        {"labels": 7},
        {"id": 7},
        {"id": "x" * 2000},
        {"context": object()},
        {"max_turns": "many"},
        {"history": 7},
    ]
    started = await lab.hf.start_many([plain, *({**plain, **each} for each in odd), plain])
    assert [each.index for each in started if each.error is None] == [0, len(odd) + 1]
    runs = [lab.watch(each.run) for each in started if each.run is not None]
    assert [(await run.result()).output for run in runs] == ["hello"] * 2
    request = Request.model_validate(
        {"id": "none", "kind": "approval", "agent": "greeter", "agent_path": ["greeter"], "tool": "t", "digest": "v1:0"}
        | {"call_id": "c", "arguments": {}, "frame": "0", "turn": 1, "verdicts": ["approve"]}
        | {"requested_at": "2026-01-01T00:00:00Z", "bound": {"workflow": "no-such-run", "run": "none"}}
    )
    asked = [OpenRequest("no-such-run", request), OpenRequest(runs[0].id, request)]
    decided = await lab.hf.decide_many(asked, Approve(), decided_by="lead")
    assert [type(each.error) for each in decided] == [RunNotFoundError, RunEndedError]


async def test_many_starts_of_one_id_are_one_run(make_lab: MakeLab, effects: Effects) -> None:
    """The same start twice attaches to the run that goes on; told to fail, it says so."""
    lab = await make_lab([desk(effects)], script=[Reply(call("wipe", {"target": "t"}, "c1")), DONE])
    item = {"agent": "desk", "input": "go", "id": f"one-{lab.task_queue}"}
    started: list[Started] = []
    for _ in range(2):
        started += await lab.hf.start_many([item])
    first, second = (each.run for each in started)
    assert first is not None
    assert second is not None
    refused = await lab.hf.start_many([item], if_exists="fail")
    assert isinstance(refused[0].error, RunExistsError)
    lab.watch(first)
    await second.reject(await lab.next_request(first), decided_by="lead")
    assert (await first.result()).output == "done"
    assert len(lab.model.requests) == 2


def clerk(effects: Effects) -> Agent:
    """An agent with two gated tools, one of them with a deadline that the arguments say."""

    def by_hours(_context: RunContext, arguments: Any) -> Approval:
        return Approval(deadline=timedelta(hours=arguments.hours))

    @tool(approval=by_hours)
    def pay(hours: int) -> str:
        """Pay."""
        effects.append(f"pay {hours}")
        return "paid"

    @tool(approval=True)
    def archive_case(hours: int) -> str:
        """Archive."""
        effects.append(f"archive {hours}")
        return "archived"

    return Agent("clerk", model="m", tools=[pay, archive_case])


async def test_many_are_listed_and_decided(make_lab: MakeLab, effects: Effects) -> None:
    """Requests are found by labels and tool, ordered by what is due; each decision has an answer of its own."""
    hours = [30, 10, 20]
    script = Script.per_conversation(
        {
            f"case {each}": [
                Reply(call("pay", {"hours": each}, "p"), call("archive_case", {"hours": each}, "a")),
                Reply(text("done")),
            ]
            for each in hours
        }
    )
    lab = await make_lab([clerk(effects)], script=script)
    labels = {"batch": lab.task_queue}
    items = [{"agent": "clerk", "input": f"case {each}", "labels": {**labels, "hours": str(each)}} for each in hours]
    runs = [lab.watch(each.run) for each in await lab.hf.start_many(items) if each.run is not None]

    async def listed(**filters: Any) -> list[OpenRequest]:
        return await lab.hf.requests(labels=labels, **filters)

    async def all_six() -> bool:
        return len(await listed()) == 6

    await eventually(all_six)
    due = await listed(tool="pay", order_by="due")
    assert [(each.request.arguments or {})["hours"] for each in due] == [10, 20, 30]
    assert [each.request.tool for each in await listed(order_by="due")][3:] == ["archive_case"] * 3
    ages = [each.request.requested_at for each in await listed()]
    assert ages == sorted(ages)
    assert len(await lab.hf.requests(labels={**labels, "hours": "20"})) == 2
    assert await listed(tool="no such tool") == []
    await lab.hf.run(due[1].run).reject(due[1].request, decided_by="somebody")
    decided: list[Decided] = []
    answers = await lab.hf.decide_many(due, Approve(), decided_by="lead", note="all", on_result=decided.append)
    assert [each.asked for each in answers] == due
    assert [each.receipt is not None for each in answers] == [True, False, True]
    assert isinstance(answers[1].error, RequestClosedError)
    assert len(decided) == 3
    rest = await listed(tool="archive_case")
    kept = await lab.hf.decide_many(
        rest,
        lambda each: Approve() if (each.request.arguments or {})["hours"] == 20 else Reject(reason="later"),
        decided_by="lead",
        concurrency=1,
    )
    assert all(each.error is None for each in kept)
    for run in runs:
        await run.result()
    assert sorted(effects) == ["archive 20", "pay 10", "pay 30"]


async def test_a_model_queue_keeps_below_the_rate_limit(make_lab: MakeLab) -> None:
    """Fifteen runs that are started at once meet no refusal of a provider whose limit their model queue stays below;
    without the queue they are refused, wait as they are told, and end as well."""
    refused: list[int] = []
    for queued, limit in ((True, 5), (False, 2)):
        model = Metered(limit)
        lab = await make_lab([GREETER], script=Script.of(model))
        queue = f"{lab.task_queue}-models"
        items = [
            {"agent": "greeter", "input": f"hello {number}", "model_queue": queue if queued else None}
            for number in range(15)
        ]
        async with make_worker(lab.client, lab.plugin(), task_queue=queue, per_second=3):
            runs = [lab.watch(each.run) for each in await lab.hf.start_many(items) if each.run is not None]
            assert [(await run.result()).output for run in runs] == ["hello"] * 15
        refused.append(model.refused)
    assert refused[0] <= 3
    assert refused[1] > 0


async def test_all_that_asks_the_model_uses_the_model_queue(make_lab: MakeLab) -> None:
    """All model calls of a run go to its model queue, those of nested agents and what makes a conversation short
    included; its tools do not."""

    @tool(effect="read_only")
    def look() -> str:
        """Look."""
        return "seen"

    nested = Agent("helper", model="m", tools=[look])
    outer = Agent("outer", model="m", tools=[nested.as_tool(), look], compaction=Compact(at_tokens=1000))
    script = [
        Reply(call("helper", {"input": "?"}, "c1")),
        Reply(call("look", {}, "n1")),
        Reply(text("inner")),
        Reply(call("look", {}, "c2")),
        Reply(call("look", {}, "c3"), usage=Usage(5000, 10)),
        Compacted(usage=Usage(4000, 50)),
        DONE,
    ]
    lab = await make_lab([outer], script=script)
    queue = f"{lab.task_queue}-models"
    async with make_worker(lab.client, lab.plugin(), task_queue=queue, per_second=100):
        run = await lab.start("outer", model_queue=queue)
        assert (await run.result()).output == "done"
    history = await lab.client.get_workflow_handle(run.id).fetch_history()
    scheduled = [
        (attributes.activity_type.name, attributes.task_queue.name == queue)
        for event in history.events
        if (attributes := event.activity_task_scheduled_event_attributes).activity_type.name
    ]
    assert set(scheduled) == {
        ("handfast.call_model", True),
        ("handfast.evaluate", True),
        ("handfast.tool.look", False),
    }
    assert len(scheduled) == 10


async def test_a_schedule_starts_runs_with_json(make_lab: MakeLab, effects: Effects) -> None:
    """A Temporal Schedule starts `AgentRun` with plain JSON; its runs are listed by status, agent and label like any,
    although no client of ours has started them, and what they ask is decided."""
    lab = await make_lab([desk(effects)], script=Script.rules(When(then=DONE)))
    mark = f"lab={lab.task_queue}"
    action = ScheduleActionStartWorkflow(
        "AgentRun",
        {"agent": "desk", "input": "the nightly check", "labels": {"lab": lab.task_queue}},
        id=f"nightly-{lab.task_queue}",
        task_queue=lab.task_queue,
    )
    schedule = Schedule(action=action, spec=ScheduleSpec(), state=ScheduleState(paused=True))
    handle = await lab.client.create_schedule(f"schedule-{lab.task_queue}", schedule)
    try:
        await handle.trigger()

        async def ended() -> Any:
            return await lab.hf.runs(label=mark, agent="desk", status="completed")

        [info] = await eventually(ended)
    finally:
        await handle.delete()
    assert info.id.startswith(f"nightly-{lab.task_queue}")
    run = lab.watch(lab.hf.run(info.id))
    assert (await run.result()).output == "done"
