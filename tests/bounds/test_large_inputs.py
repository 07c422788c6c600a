"""Fault rows XD: inputs and requests that are small as they come and large as they are written."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from handfast import Agent, AgentHost
from handfast.errors import RunFailedError
from handfast.payloads.runs import RunInput
from handfast.testing import Reply, Script, call, text
from support.evidence import failed_tasks, raw, start_raw
from support.labs import Effects, MakeLab
from support.sizes import desk

WIDE = "字"
"""Three bytes in UTF-8, six in the JSON that the payload converter writes."""
BACKGROUND = {"background": WIDE * 600_000}


def start(**fields: Any) -> bytes:
    """The argument of `AgentRun` as a client in another language writes it."""
    return json.dumps({"agent": "desk", "input": "go", **fields}, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        pytest.param({"input": WIDE * 600_000}, "input", id="text"),
        pytest.param({"input": [{"role": "user", "content": WIDE * 600_000}]}, "input", id="items"),
        pytest.param({"context": BACKGROUND}, "context", id="context"),
    ],
)
async def test_a_start_that_could_never_reach_the_model_is_refused(
    make_lab: MakeLab, effects: Effects, cache: int, fields: dict[str, Any], place: str
) -> None:
    """XD: a start of 1.8 MB of UTF-8 that would take 3.6 MB in a query fails at once, and says what is too large."""
    lab = await make_lab(
        [desk(effects)], script=Script.of(lambda request: Reply(text("done"))), max_cached_workflows=cache
    )
    run = await start_raw(lab, [raw(start(**fields))])
    with pytest.raises(RunFailedError, match=f"{place}: takes 3,600,") as failed:
        await run.result()
    assert failed.value.kind == "StartInvalid"
    assert lab.model.requests == []
    assert await failed_tasks(lab, run) == 0


async def test_a_start_of_other_scripts_reaches_the_model_whole(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """XD: 300,000 characters of another script are read by the model, beside as large a context."""
    question, background = WIDE * 300_000, "語" * 300_000
    lab = await make_lab([desk(effects)], script=[Reply(text("done"))], max_cached_workflows=cache)
    run = await start_raw(lab, [raw(start(input=question, context={"background": background}))])
    assert (await run.result()).output == "done"
    assert lab.model.requests[0].first_user_text == question
    assert await failed_tasks(lab, run) == 0


@workflow.defn(sandboxed=False)
class Reading:
    """Gives its agent a text that it makes itself, so that no client measures it."""

    @workflow.init
    def __init__(self, checked: bool) -> None:
        self.agents = AgentHost()

    @workflow.run
    async def run(self, checked: bool) -> None:
        """Run the agent, by the front door or past it."""
        if checked:
            await self.agents.run("desk", WIDE * 600_000)
        else:
            await self.agents.run_input(RunInput(agent="desk", input=WIDE * 600_000))


@pytest.mark.parametrize(
    ("checked", "kind"),
    [
        pytest.param(True, "StartInvalid", id="at-the-door"),
        pytest.param(False, "TranscriptUnavailable", id="in-the-query"),
    ],
)
async def test_a_host_says_what_is_too_large(make_lab: MakeLab, effects: Effects, checked: bool, kind: str) -> None:
    """XD: inside a workflow of the user's a text that is too large ends the agent's run with a type, at once."""
    lab = await make_lab([desk(effects)], workflows=[Reading])
    with pytest.raises(WorkflowFailureError) as failed:
        async with asyncio.timeout(30):
            await lab.client.execute_workflow(
                Reading.run, checked, id=f"reading-{uuid.uuid4().hex}", task_queue=lab.task_queue
            )
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == kind
    assert lab.model.requests == []


@workflow.defn(sandboxed=False)
class Three:
    """Runs three agents side by side: their requests are listed by one query."""

    @workflow.init
    def __init__(self) -> None:
        self.agents = AgentHost()

    @workflow.run
    async def run(self) -> None:
        """Run them."""
        await asyncio.gather(*(self.agents.run("desk", f"part {n}") for n in range(3)))


def storing(effects: Effects, letters: str) -> tuple[Agent, Reply]:
    """The desk, and a reply of 80 gated calls with a long text each, and one with a short one."""
    large = [call("store", {"body": f"{n:02d}{letters}"}, f"c{n}") for n in range(80)]
    return desk(effects), Reply(*large, call("store", {"body": "small"}, "c80"))


@pytest.mark.parametrize(
    "letters", [pytest.param("x" * 14_000, id="1-byte-each"), pytest.param(WIDE * 2300, id="6-bytes-each")]
)
async def test_requests_of_3_mb_are_listed(make_lab: MakeLab, effects: Effects, letters: str) -> None:
    """XD: 243 open requests with 3.4 MB of arguments are all listed by one query, the long ones by their start."""
    agent, asking = storing(effects, letters)
    lab = await make_lab([agent], workflows=[Three], script=Script.of(lambda request: asking))
    handle = await lab.client.start_workflow(Three.run, id=f"three-{uuid.uuid4().hex}", task_queue=lab.task_queue)
    run = lab.watch(lab.hf.run(handle.id))
    requests = await lab.open_requests(run, 243)
    answer: list[dict[str, Any]] = await handle.query("handfast.pending_approvals")
    assert {item["id"] for item in answer} == {request.id for request in requests}
    assert {item["digest"] for item in answer} == {request.digest for request in requests}
    assert [item["arguments"] for item in answer if item["call_id"] == "c80"] == [{"body": "small"}] * 3
    long = [item for item in answer if item["call_id"] != "c80"]
    assert {"arguments" in item for item in long} == {False}
    assert {len(item["arguments_preview"]) >= 500 for item in long} == {True}
    assert {item["arguments_bytes"] for item in long} == {len(letters.encode()) + len('{"body": "00"}')}
    assert await failed_tasks(lab, run) == 0
    await handle.terminate()


async def test_fewer_requests_are_listed_whole(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XD: 81 requests with 1.1 MB of arguments are listed by the query with all of them."""
    agent, asking = storing(effects, "x" * 14_000)
    lab = await make_lab([agent], script=[asking], max_cached_workflows=cache)
    run = await lab.start("desk")
    await lab.open_requests(run, 81)
    answer: list[dict[str, Any]] = await lab.client.get_workflow_handle(run.id).query("pending_approvals")
    assert [len(item["arguments"]["body"]) for item in answer] == [14_002] * 80 + [5]
