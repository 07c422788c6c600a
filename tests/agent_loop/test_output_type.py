"""Final answers that have a type: J5, and the structured part of O7."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio import workflow

from handfast import Agent, AgentHost, AgentRef, tool
from handfast.errors import OutputInvalidError, RunFailedError
from handfast.testing import Lab, Reply, call, text
from support.labs import Effects, MakeLab


class Finding(BaseModel):
    """One thing that was found."""

    text: str
    since: date | None = None


class Report(BaseModel):
    """What the auditor answers."""

    title: str
    findings: list[Finding]
    score: float = 1.0


WRITTEN = '{"title": "Fans", "findings": [{"text": "dust", "since": "2026-03-01"}], "score": null}'
REPORT = Report(title="Fans", findings=[Finding(text="dust", since=date(2026, 3, 1))])
BROKEN = '{"title": "Fans", "findings": "secret"}'


def auditor(effects: Effects, output_type: Any = Report) -> Agent:
    """An agent with one gated tool and a typed answer."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        return "wiped"

    return Agent("auditor", model="m", tools=[wipe], output_type=output_type)


def user_texts(lab: Lab, request: int) -> list[str]:
    """The user messages that a model request carried, in its order."""
    return [
        part["text"]
        for item in lab.model.requests[request - 1].body["input"]
        if item["type"] == "message" and item["role"] == "user"
        for part in item["content"]
    ]


async def test_a_typed_answer_keeps_its_type_over_a_pause(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """J5: after an approval and a restart the answer is the JSON value that the model wrote, and reads as its type."""
    script = [Reply(call("wipe", {"target": "t"})), Reply(text(WRITTEN))]
    lab = await make_lab([auditor(effects)], script=script, max_cached_workflows=cache)
    run = await lab.start("auditor")
    request = await lab.next_request(run)
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == {
        "title": "Fans",
        "findings": [{"text": "dust", "since": "2026-03-01"}],
        "score": None,
    }
    assert (await run.result(output_type=Report)).output == REPORT
    asked = lab.model.requests[0].body["text"]["format"]
    assert (asked["type"], asked["name"], asked["strict"]) == ("json_schema", "Report", True)
    assert lab.model.requests[1].body["text"]["format"] == asked
    assert lab.model.violations == []


@pytest.mark.parametrize(
    ("output_type", "written", "value"),
    [
        pytest.param(list[int], '{"response": [1, 2]}', [1, 2], id="list"),
        pytest.param(int | str, '{"response": "seven"}', "seven", id="union"),
        pytest.param(int | None, '{"response": null}', None, id="null"),
    ],
)
async def test_an_answer_that_is_no_object(
    make_lab: MakeLab, effects: Effects, output_type: Any, written: str, value: object
) -> None:
    """J5: lists, unions and primitives are asked for inside an object, and come out of it again."""
    lab = await make_lab([auditor(effects, output_type)], script=[Reply(text(written))])
    run = await lab.start("auditor")
    assert (await run.result()).output == value
    assert (await run.result(output_type=output_type)).output == value
    assert lab.model.violations == []


async def test_an_answer_that_does_not_fit_the_asked_type(make_lab: MakeLab, effects: Effects) -> None:
    """J5: a client that asks for another type than the answer's gets a typed error, and the run is not harmed."""
    lab = await make_lab([auditor(effects)], script=[Reply(text(WRITTEN))])
    run = await lab.start("auditor")
    with pytest.raises(OutputInvalidError, match="the output is no Finding: text: Field required"):
        await run.result(output_type=Finding)
    assert (await run.result(output_type=Report)).output == REPORT


@pytest.mark.parametrize("resumed", [False, True], ids=["fresh", "resumed"])
async def test_an_invalid_answer_is_asked_for_again(
    make_lab: MakeLab, effects: Effects, cache: int, *, resumed: bool
) -> None:
    """O7: the model is told once what did not fit, without the value, on fresh and resumed turns alike."""
    first = [Reply(call("wipe", {"target": "t"}))] if resumed else []
    script = [*first, Reply(text(BROKEN)), Reply(text(WRITTEN))]
    lab = await make_lab([auditor(effects)], script=script, max_cached_workflows=cache)
    run = await lab.start("auditor")
    if resumed:
        request = await lab.next_request(run)
        await lab.replace_worker()
        await run.approve(request, decided_by="lead")
    result = await run.result(output_type=Report)
    assert (result.output, result.turns) == (REPORT, len(script))
    [_, told] = user_texts(lab, len(script))
    assert "the output is no Report: findings: Input should be a valid array" in told
    assert "secret" not in told
    assert lab.model.violations == []


@pytest.mark.parametrize("resumed", [False, True], ids=["fresh", "resumed"])
async def test_a_second_invalid_answer_fails_the_run(
    make_lab: MakeLab, effects: Effects, cache: int, *, resumed: bool
) -> None:
    """O7: an answer that does not fit the second time is a typed failure, on fresh and resumed turns alike."""
    first = [Reply(call("wipe", {"target": "t"}))] if resumed else []
    script = [*first, Reply(text(BROKEN)), Reply(text("no JSON at all"))]
    lab = await make_lab([auditor(effects)], script=script, max_cached_workflows=cache)
    run = await lab.start("auditor")
    if resumed:
        request = await lab.next_request(run)
        await lab.replace_worker()
        await run.approve(request, decided_by="lead")
    with pytest.raises(RunFailedError, match="not valid JSON") as failed:
        await run.result()
    assert failed.value.kind == "OutputInvalid"


async def test_asking_again_counts_as_a_turn(make_lab: MakeLab, effects: Effects) -> None:
    """O7: the second answer is a turn like any other, so the limit of turns holds for it."""
    lab = await make_lab([auditor(effects)], script=[Reply(text(BROKEN))])
    run = await lab.start("auditor", max_turns=1)
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert failed.value.kind == "MaxTurnsExceeded"


@workflow.defn(sandboxed=False)
class Audit:
    """A user's workflow that reads an answer as a type."""

    @workflow.init
    def __init__(self, kind: str) -> None:
        self.agents = AgentHost()

    @workflow.run
    async def run(self, kind: str) -> list[str]:
        """Return what was found."""
        if kind == "report":
            report = (await self.agents.run(AgentRef("auditor", output_type=Report), "go")).output
            return [finding.text for finding in report.findings]
        wrong = await self.agents.run(AgentRef("auditor", output_type=Finding), "go")
        return [wrong.output.text]


@pytest.mark.parametrize("kind", ["report", "finding"])
async def test_a_typed_answer_inside_a_workflow(make_lab: MakeLab, effects: Effects, cache: int, kind: str) -> None:
    """J5: a workflow of the user's gets the answer as its type; one that does not fit fails it with a typed error."""
    lab = await make_lab(
        [auditor(effects)], script=[Reply(text(WRITTEN))], workflows=[Audit], max_cached_workflows=cache
    )
    handle = await lab.client.start_workflow(Audit.run, kind, id=f"audit-{lab.task_queue}", task_queue=lab.task_queue)
    run = lab.watch(lab.hf.run(handle.id))
    if kind == "report":
        assert await handle.result() == ["dust"]
        return
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert failed.value.kind == "OutputInvalid"
