"""The model reads the same, whatever happens to a run: its requests are equal byte for byte."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType

from handfast import Run
from handfast.history.reader import history_of
from handfast.testing import Lab, Reply, Script, call, reasoning, text
from handfast.testing.script import RecordedRequest, Step
from support.crash.office import UNGATED, front
from support.labs import MakeLab

TESTS = Path(__file__).parent.parent
IDS = re.compile(rb'"(?:id|encrypted_content)":"[^"]*"')


def play(request: RecordedRequest) -> Step | None:
    """Two agents take turns and a third one works for the first: what comes next follows from the request alone."""
    who = request.instructions.split(".")[0].removeprefix("You are ")
    answered = len(request.tool_outputs)
    if request.first_user_text == "short":
        who = f"{who}, shortly"
    steps: dict[tuple[str, int], Step] = {
        ("front", 0): Reply(
            reasoning("thinking"),
            call("wipe", {"target": "temp"}, "f1"),
            call("look", {"check": "fans"}, "f2"),
            call("wipe", {"target": "logs"}, "f3"),
        ),
        ("front", 3): Reply(text("an audit is due"), call("auditor", {"input": "audit the wipes"}, "f4")),
        ("auditor", 0): Reply(call("look", {"check": "books"}, "a1"), call("seal", {"report": "wipes"}, "a2")),
        ("auditor", 2): Reply(text("sealed and fine")),
        ("front", 4): Reply(call("transfer_to_closer", {}, "f5")),
        ("closer", 5): Reply(call("wipe", {"target": "draft"}, "k1")),
        ("closer", 6): Reply(text("closed")),
        ("front, shortly", 0): Reply(call("look", {"check": "fans"}, "s1"), call("wipe", {"target": "temp"}, "s2")),
        ("front, shortly", 2): Reply(call("transfer_to_closer", {}, "s3")),
        ("closer, shortly", 3): Reply(text("closed")),
    }
    return steps.get((who, answered))


async def approve_each(lab: Lab, run: Run, *, kill: bool = False) -> int:
    """Approve every request in its turn; with *kill*, the worker is killed first and a new one started."""
    decided = 0
    async for request in run.requests():
        if kill:
            await lab.kill_worker()
            await lab.start_worker()
        await run.approve(request, decided_by="lead")
        decided += 1
    return decided


def sent(lab: Lab) -> list[bytes]:
    """The bodies of all requests that were answered."""
    assert lab.model.violations == []
    return [request.content for request in lab.model.requests if request.state == "answered"]


async def office(make_lab: MakeLab, agents: Any = None, **options: Any) -> Lab:
    """A lab with the office's agents and script."""
    return await make_lab([front] if agents is None else agents, script=Script.of(play), **options)


async def test_requests_are_equal_whatever_happened_to_the_run(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O4: the model is sent the same bytes by a run without a pause, one with pauses, one that is replayed after every
    task, and one whose worker is killed at each pause."""
    monkeypatch.setenv(UNGATED, "1")
    lab = await office(make_lab)
    result = await (await lab.start("front", context={})).result()
    monkeypatch.delenv(UNGATED)
    assert result.output == "closed"
    expected = sent(lab)
    assert len(expected) == 7

    paused = await office(make_lab)
    run = await paused.start("front", context={})
    assert await approve_each(paused, run) == 4
    assert (await run.result()).context == {"done": ["wiped temp", "wiped logs", "sealed wipes", "wiped draft"]}
    assert sent(paused) == expected

    replayed = await office(make_lab, max_cached_workflows=0)
    run = await replayed.start("front", context={})
    assert await approve_each(replayed, run) == 4
    assert sent(replayed) == expected

    killed = await office(make_lab, "support.crash.office:front", directory=TESTS)
    run = await killed.start("front", context={})
    assert await approve_each(killed, run, kill=True) == 4
    assert (await run.result()).output == "closed"
    assert sent(killed) == expected


async def test_a_restart_after_every_step_changes_nothing(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, cache: int
) -> None:
    """O4: with the worker replaced after every single activity the run ends alike: each tool took effect once, one
    attempt where an effect could repeat, and but for the ids of replies the model was sent the same."""
    monkeypatch.setenv(UNGATED, "1")
    lab = await office(make_lab)
    await (await lab.start("front", "short", context={})).result()
    expected = [IDS.sub(b"", content) for content in sent(lab)]

    stepwise = await office(make_lab, max_cached_workflows=cache)
    run = await stepwise.start("front", "short", context={})
    handle = stepwise.client.get_workflow_handle(run.id)
    finished: list[str] = []
    scheduled: dict[int, Any] = {}
    async with asyncio.timeout(120):
        async for event in history_of(handle, wait=True):
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                scheduled[event.event_id] = event.activity_task_scheduled_event_attributes
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                ended = event.activity_task_completed_event_attributes
                [outcome] = ended.result.payloads
                if json.loads(outcome.data).get("kind") == "ok":
                    finished.append(scheduled[ended.scheduled_event_id].activity_type.name)
                await stepwise.replace_worker()
    result = await run.result()
    assert (result.agent, result.context) == ("closer", {"done": ["wiped temp"]})
    assert sorted(finished) == ["handfast.tool.look", "handfast.tool.wipe"]
    effects = [each for each in scheduled.values() if each.activity_type.name != "handfast.tool.look"]
    assert {each.retry_policy.maximum_attempts for each in effects if "tool" in each.activity_type.name} == {1}
    assert {IDS.sub(b"", content) for content in sent(stepwise)} == set(expected)
