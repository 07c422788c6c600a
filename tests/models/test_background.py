"""Background responses: begun once, picked up by whoever comes next, and cancelled with their call."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from temporalio.api.enums.v1 import EventType

from handfast import Agent, InProcessDeltas, tool
from handfast.activities.model import call_model
from handfast.errors import DefinitionError, RunFailedError
from handfast.history.reader import history_of
from handfast.payloads.deltas import Delta
from handfast.testing import Fail, Gate, Lab, Reply, call, text
from handfast.testing.script import RecordedRequest, Usage
from support.deltas import told
from support.labs import MakeLab

DONE = Reply(text("done"), usage=Usage(10, 5))
HELD = Gate("made", DONE)


@tool(effect="read_only")
async def look(check: str) -> str:
    """Look at something."""
    return f"{check} is fine"


def thinker(**options: Any) -> Agent:
    return Agent("thinker", instructions="Think.", model="m", tools=[look], background=True, **options)


async def asked(lab: Lab, method: str, ending: str = "", times: int = 1) -> RecordedRequest:
    """Wait until the model server was sent such a request so often."""
    while len(found := _found(lab, method, ending)) < times:
        await lab.model.wait_for_request(len(lab.model.requests) + 1, timeout=60)
    return found[times - 1]


def _found(lab: Lab, method: str, ending: str) -> list[RecordedRequest]:
    return [each for each in lab.model.requests if each.method == method and each.path.endswith(ending)]


@pytest.mark.parametrize("history", [None, "chain", "conversation"])
@pytest.mark.quick
async def test_a_background_response_is_begun_and_waited_for(make_lab: MakeLab, history: Any) -> None:
    """Each reply of a background agent is one request that is answered at once, then looked up until it has ended;
    with a history that the provider keeps as well."""
    lab = await make_lab([thinker()], script=[Reply(call("look", {"check": "fans"}, "l1")), DONE])
    result = await (await lab.start("thinker", history=history)).result()
    assert (result.output, result.usage.requests) == ("done", 2)
    bodies = [request.body for request in lab.model.created]
    assert [(body["background"], body["store"]) for body in bodies] == [(True, True)] * 2
    assert [item["type"] for item in lab.model.created[1].items] == ["message", "function_call", "function_call_output"]
    assert len(bodies[1]["input"]) == (3 if history is None else 1)
    assert lab.model.violations == []


async def test_another_attempt_picks_the_response_up(make_lab: MakeLab) -> None:
    """The worker is replaced while the provider works: the next one waits for the same response, and nothing is
    cancelled or made twice."""
    lab = await make_lab([thinker()], script=[HELD])
    run = await lab.start("thinker")
    await asked(lab, "GET")
    await lab.replace_worker()
    await asked(lab, "GET", times=len(_found(lab, "GET", "")) + 1)
    lab.model.open("made")
    result = await run.result()
    assert (result.output, result.usage.requests) == ("done", 1)
    assert len(lab.model.created) == 1
    assert not _found(lab, "POST", "/cancel")
    assert lab.model.violations == []


async def test_a_cancel_of_the_run_cancels_the_response(make_lab: MakeLab) -> None:
    """A run that is cancelled leaves nothing at work at the provider."""
    lab = await make_lab([thinker()], script=[HELD])
    run = await lab.start("thinker")
    looked_up = await asked(lab, "GET")
    await run.cancel("never mind")
    cancelled = await asked(lab, "POST", "/cancel")
    assert cancelled.path == f"{looked_up.path}/cancel"
    await lab.model.wait_for_end(cancelled.number)
    assert cancelled.reply is not None
    assert cancelled.reply["status"] == "cancelled"
    assert len(lab.model.created) == 1


@pytest.mark.parametrize("history", [None, "conversation"])
async def test_a_response_that_takes_longer_than_a_call_is_waited_for_by_the_next(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, history: Any
) -> None:
    """One model call waits for minutes; a response of hours is waited for by one call after the other."""
    monkeypatch.setattr(call_model, "PATIENCE_S", 0.01)
    lab = await make_lab([thinker()], script=[HELD], max_cached_workflows=0)
    run = await lab.start("thinker", history=history)
    completed = 0
    async with asyncio.timeout(60):
        async for event in history_of(lab.client.get_workflow_handle(run.id), wait=True):
            completed += event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
            if completed == 3:
                break
    lab.model.open("made")
    result = await run.result()
    assert (result.output, result.turns, result.usage.requests) == ("done", 1, 1)
    told = [event.type async for event in run.events()]
    assert (told.count("turn_started"), told.count("model_reply")) == (1, 1)
    assert len(lab.model.created) == 1
    assert lab.model.violations == []


async def test_a_response_that_the_provider_forgot_is_made_anew(
    make_lab: MakeLab, caplog: pytest.LogCaptureFixture
) -> None:
    """It is asked for once more, and the log says so."""
    lab = await make_lab([thinker()], script=[HELD, DONE])
    run = await lab.start("thinker")
    looked_up = await asked(lab, "GET")
    lab.model.forget(looked_up.path.rpartition("/")[2])
    assert (await run.result()).output == "done"
    assert len(lab.model.created) == 2
    assert "it is made anew" in caplog.text
    assert {violation.status for violation in lab.model.violations} == {404}


async def test_a_response_that_failed_is_made_anew(make_lab: MakeLab) -> None:
    """The provider gave it up: the next attempt begins another one, and does not wait for the failed one again."""
    lab = await make_lab([thinker()], script=[Gate("failed", Fail(500, "broken")), DONE])
    lab.model.open("failed")
    assert (await (await lab.start("thinker")).result()).output == "done"
    assert len(lab.model.created) == 2


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        pytest.param(Reply(text("cut"), status="incomplete"), "ModelIncomplete", id="incomplete"),
        pytest.param(Gate("never", DONE), "ModelRefused", id="cancelled-at-the-provider"),
    ],
)
async def test_a_response_that_did_not_complete_is_a_typed_failure(
    make_lab: MakeLab, reply: Reply | Gate, kind: str
) -> None:
    """An incomplete response fails the run as ever; so does one that somebody cancelled at the provider."""
    lab = await make_lab([thinker()], script=[reply])
    run = await lab.start("thinker")
    if isinstance(reply, Gate):
        looked_up = await asked(lab, "GET")
        async with openai.AsyncOpenAI(base_url=lab.model.base_url, api_key="test") as client:
            await client.responses.cancel(looked_up.path.rpartition("/")[2])
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert failed.value.kind == kind


def test_background_is_a_bool() -> None:
    """Anything else is refused when the agent is defined; so is the setting of that name."""
    wrong: Any = "yes"
    with pytest.raises(DefinitionError, match="background"):
        Agent("a", background=wrong)
    with pytest.raises(DefinitionError, match="Handfast sets it"):
        Agent("a", model_settings={"background": True})


async def test_a_streamed_background_response_is_followed(make_lab: MakeLab) -> None:
    """Where the run is streamed, pieces come while they are written; another attempt follows the same response, from
    its start."""
    long = "Seventeen words, so that the scripted server cuts them into a few pieces of text that follow each other."
    deltas = InProcessDeltas()
    lab = await make_lab([thinker()], script=[Gate("made", Reply(text(long)))], deltas=deltas)
    run = await lab.start("thinker", stream=True)
    begun = await asked(lab, "POST")
    await lab.replace_worker()
    again = await asked(lab, "GET")
    assert (begun.body["stream"], again.query) == (True, {"stream": "true"})
    lab.model.open("made")
    assert (await run.result()).output == long
    assert len(lab.model.requests) == 2
    pieces = [each.text for each in await told(lab, run, deltas) if isinstance(each, Delta)]
    assert "".join(pieces) == long
    assert lab.model.violations == []
