"""Runs that waited under an earlier release go on under this one."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from handfast import HandfastPlugin
from handfast.payloads.evaluation import Evaluation
from handfast.payloads.requests import MEMO_LOG, RequestKind, Transition
from handfast.workflows.frame.frame import CallState, Phase
from handfast.workflows.state.runs import Runs
from replay.record import SCENES
from support.two_runs import TwoRuns

KINDS = [each.model_fields["kind"].default for each in get_args(Evaluation)]
"""What user code can be asked."""
STARTED = "workflowExecutionStartedEventAttributes"
RECORDED = sorted((Path(__file__).parent / "histories").glob("*/*.json"))
HISTORIES = [pytest.param(path.stem, path.read_text(), id=f"{path.parent.name}-{path.stem}") for path in RECORDED]


@pytest.mark.parametrize(("name", "history"), HISTORIES)
async def test_a_recorded_wait_replays_on_todays_code(name: str, history: str) -> None:
    """Each wait state of each release replays without a difference."""
    replayer = Replayer(workflows=[TwoRuns], plugins=[HandfastPlugin()])
    await replayer.replay_workflow(WorkflowHistory.from_json(name, history))


def test_every_scene_is_recorded() -> None:
    """There is a recorded history for every scene that can be recorded: `make record` adds what is missing."""
    assert {path.stem for path in RECORDED} >= set(SCENES)


PASSED_THROUGH = {
    *("model", "calls"),  # the next step is taken in the same task
    *("ending", "filter"),  # likewise
    *("planned", "ready", "asked"),
    "finished",
}
"""Phases and states in which nothing is waited for; one that is waited in belongs into a scene instead."""


async def test_every_wait_state_is_recorded_and_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    """XG1: all recorded histories of every release replay on today's code, and among what they wait in is every kind of
    request, every phase of a loop and every state of a call that there is; sessions, a user's own workflow, a fresh
    history with open requests and the archiving too."""
    waited: set[str] = set()
    publish = Runs.publish

    def watched(runs: Runs) -> None:
        """Note where a workflow stands at the end of each task, which is where it waits."""
        waited.update(frame.phase for frame in runs.frames.all)
        waited.update(call.state for frame in runs.frames.all for call in frame.calls)
        waited.update(request.kind for request in runs.ledger.book.open_requests())
        publish(runs)

    async def histories() -> AsyncIterator[WorkflowHistory]:
        for path in RECORDED:
            yield WorkflowHistory.from_json(path.stem, path.read_text())

    monkeypatch.setattr(Runs, "publish", watched)
    replayer = Replayer(workflows=[TwoRuns], plugins=[HandfastPlugin()])
    results = await replayer.replay_workflows(histories(), raise_on_replay_failure=False)
    assert results.replay_failures == {}
    there_are = {*get_args(RequestKind), *get_args(Phase), *get_args(CallState)}
    assert there_are - waited - PASSED_THROUGH == set(), "add a scene to record.py, and `make record`"
    workflows = {json.loads(path.read_text())["events"][0][STARTED]["workflowType"]["name"] for path in RECORDED}
    assert workflows >= {"AgentRun", "AgentSession", "TwoRuns", "handfast.archive"}
    assert any('"continuedExecutionRunId": "' in path.read_text() for path in RECORDED if path.stem == "carried")


def attributes(name: str) -> Iterator[dict[str, Any]]:
    """What all recorded events of one type say."""
    for path in RECORDED:
        yield from (event[name] for event in json.loads(path.read_text())["events"] if name in event)


def plain(payload: dict[str, Any]) -> Any:
    """What a recorded payload holds."""
    return json.loads(base64.b64decode(payload.get("data", "")) or b"null")


def test_what_comes_between_a_request_and_its_effect_is_recorded() -> None:
    """XG1: among what the recorded histories hold is every question to the user's code and every step of the ledger
    that a call can wait for: reviewed, changed since approved, verified, signed, reminded of, escalated, told of."""
    asked = {
        plain(each["input"]["payloads"][0])["kind"]
        for each in attributes("activityTaskScheduledEventAttributes")
        if each["activityType"]["name"] == "handfast.evaluate"
    }
    kinds = {each["activityType"]["name"] for each in attributes("activityTaskScheduledEventAttributes")}
    steps = {
        step["what"]
        for each in attributes("workflowPropertiesModifiedEventAttributes")
        for step in plain(each["upsertedMemo"]["fields"].get(MEMO_LOG, {})) or []
    }
    assert asked >= set(KINDS)
    assert kinds >= {"handfast.notify", "handfast.review"}
    logged = {word for each in get_args(Transition.model_fields["what"].annotation) for word in get_args(each)}
    assert steps >= logged


def test_histories_do_not_say_where_they_were_recorded() -> None:
    """No path, host or process of the machine that recorded a history is in it."""
    for path in RECORDED:
        content = path.read_text()
        assert "site-packages" not in content
        assert '.py"' not in content
        assert 'stackTrace": "F' not in content
