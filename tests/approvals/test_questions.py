"""Scenario row P7: an agent asks a person, and reads the answer as its call's output."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, Field, create_model, field_validator
from temporalio.client import Client

from handfast import Agent, Answer, question
from handfast.errors import (
    AnswerRefusedError,
    DefinitionError,
    NotAnApproverError,
    RunFailedError,
    VerdictNotAllowedError,
)
from handfast.payloads.json_profile import JsonValue
from handfast.testing import Reply, call, text
from support.desk import outputs
from support.labs import MakeLab

DONE = Reply(text("done"))


def asking(*texts: str, tool: str = "ask_person") -> Reply:
    """A reply that asks, once for each text."""
    return Reply(*(call(tool, {"question": each}, f"c{number}") for number, each in enumerate(texts, 1)))


class Delivery(BaseModel):
    """Where to deliver."""

    street: str
    number: int = Field(ge=1)

    @field_validator("street")
    @classmethod
    def _known(cls, street: str) -> str:
        if street == "nowhere":
            raise RuntimeError("this validator broke")
        return street


async def test_a_text_is_the_calls_output(make_lab: MakeLab, cache: int) -> None:
    """P7: two questions of one reply wait over a restart; answers and a refusal to answer reach the model in order."""
    lab = await make_lab(
        [Agent("desk", model="m", tools=[question()])],
        script=[asking("Which door?", "Which floor?", "Why?"), DONE],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk")
    first, second, third = await lab.open_requests(run, 3)
    assert (first.kind, first.tool, first.verdicts) == ("question", "ask_person", ["answer", "reject"])
    assert first.arguments == {"question": "Which door?"}
    assert (await run.status()).status == "waiting"
    await lab.replace_worker()
    await run.answer(second, "the third", decided_by="ana")
    await run.reject(third, decided_by="ana")
    await run.answer(first, "the green one", decided_by="ana")
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", "the green one"), ("c2", "the third"), ("c3", "A person declined to answer.")]
    assert lab.model.violations == []
    [offered] = lab.model.requests[0].body["tools"]
    assert (offered["name"], offered["strict"]) == ("ask_person", True)
    assert list(offered["parameters"]["properties"]) == ["question"]


@pytest.mark.parametrize("answer", ["", " \n", 5, {"text": "x"}, ["x"]], ids=json.dumps)
async def test_what_is_no_text_is_refused(make_lab: MakeLab, answer: JsonValue) -> None:
    """P7: without a form an answer is a text with something in it; anything else is refused and the question waits."""
    lab = await make_lab([Agent("desk", model="m", tools=[question()])], script=[asking("Which door?"), DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    with pytest.raises(AnswerRefusedError, match="takes a text"):
        await run.decide(request, Answer(output=answer), decided_by="ana")
    assert [each.id for each in await run.pending()] == [request.id]
    await run.answer(request, "the green one", decided_by="ana")
    await run.result()


async def test_a_form_is_checked_before_the_answer_counts(make_lab: MakeLab, cache: int) -> None:
    """P7: the request carries the form's schema; an answer that does not fit names the field and leaves it open."""
    ask = question(name="ask_address", form=Delivery, description="Ask where to deliver.")
    lab = await make_lab(
        [Agent("desk", model="m", tools=[ask])],
        script=[asking("Where to?", tool="ask_address"), DONE],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk")
    request = await lab.next_request(run)
    assert request.facts is not None
    assert set(request.facts["schema"]["properties"]) == {"street", "number"}
    refused: list[tuple[JsonValue, str]] = [
        ("Hill Road 5", "arguments: Input should be"),
        ({"street": "Hill Road"}, "number: Field required"),
        ({"street": "Hill Road", "number": "5"}, "number: Input should be a valid integer"),
        ({"street": "Hill Road", "number": 0}, "number: Input should be greater"),
        ({"street": "nowhere", "number": 1}, "RuntimeError"),
    ]
    for wrong, says in refused:
        with pytest.raises(AnswerRefusedError, match=says):
            await run.decide(request, Answer(output=wrong), decided_by="ana")
    assert [each.id for each in await run.pending()] == [request.id]
    await lab.replace_worker()
    answer: JsonValue = {"street": "Hill Road", "number": 5}
    assert (await run.answer(request, answer, decided_by="ana")).state == "recorded"
    await run.result()
    [(_, output)] = outputs(lab)
    assert json.loads(output) == answer


@pytest.mark.parametrize("policy", ["reject", "fail"])
async def test_nobody_answers_before_the_deadline(skipping_client: Client, make_lab: MakeLab, policy: Any) -> None:
    """P7: past its deadline a question tells the model that there is no answer, or fails the run."""
    ask = question(deadline=timedelta(days=2), on_deadline=policy)
    lab = await make_lab(
        [Agent("desk", model="m", tools=[ask])], client=skipping_client, script=[asking("Which door?"), DONE]
    )
    run = await lab.start("desk")
    if policy == "fail":
        with pytest.raises(RunFailedError) as failed:
            await run.result()
        assert failed.value.kind == "DeadlineExpired"
        return
    await run.result()
    assert outputs(lab) == [("c1", "Nobody answered in time.")]


async def test_only_those_named_may_answer(make_lab: MakeLab) -> None:
    """P7: with approvers named, an answer by somebody else is refused, and theirs counts."""
    agent = Agent("desk", model="m", tools=[question(form=Delivery, approvers=["ana"])])
    lab = await make_lab([agent], script=[asking("Where to?"), DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    answer: JsonValue = {"street": "Hill Road", "number": 5}
    with pytest.raises(NotAnApproverError):
        await run.answer(request, answer, decided_by="bob")
    await run.answer(request, answer, decided_by="ana")
    await run.result()


async def test_a_question_is_no_yes_or_no(make_lab: MakeLab) -> None:
    """P7: approving a question is refused, and so are the signals that take a bare id."""
    lab = await make_lab([Agent("desk", model="m", tools=[question()])], script=[asking("Which door?"), DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    with pytest.raises(VerdictNotAllowedError, match="takes answer, reject, not approve"):
        await run.approve(request, decided_by="ana")
    handle = lab.client.get_workflow_handle(run.id)
    await handle.signal("reject", {"id": request.id, "decision_id": "bare"})
    outcome = await run.decision("bare")
    assert (outcome.state, outcome.error) == ("refused", "VerdictNotAllowedError")
    await run.answer(request, "the green one", decided_by="ana")
    await run.result()


async def test_a_question_without_text_goes_back_to_the_model(make_lab: MakeLab) -> None:
    """P7: nobody is asked nothing: arguments that do not fit are answered with what was wrong."""
    script = [Reply(call("ask_person", {"question": ""}, "c1"), call("ask_person", "{}", "c2")), DONE]
    lab = await make_lab([Agent("desk", model="m", tools=[question()])], script=script)
    await (await lab.start("desk")).result()
    assert ["invalid arguments for ask_person" in output for _, output in outputs(lab)] == [True, True]


async def test_many_large_forms_fit_into_lists(make_lab: MakeLab) -> None:
    """P7: sixty questions with a form of seven kilobytes each are listed without a worker, and all answered."""
    fields: dict[str, Any] = {f"field_{number:03}": (str | None, None) for number in range(85)}
    wide = create_model("Wide", **fields)
    ask = question(form=wide)
    lab = await make_lab(
        [Agent("desk", model="m", tools=[ask])], script=[asking(*(f"What is {n}?" for n in range(60))), DONE]
    )
    run = await lab.start("desk")
    pending = await lab.open_requests(run, 60)
    assert pending[0].facts is not None
    assert pending[0].facts["schema_bytes"] > 5000
    whole = await lab.client.get_workflow_handle(run.id).query("pending_requests")
    assert len(whole) == 60
    for number, request in enumerate(pending):
        await run.answer(request, {"field_000": str(number)}, decided_by="ana")
    await run.result()
    assert len(outputs(lab)) == 60


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param({"name": "ask me"}, "the name must be", id="name"),
        pytest.param({"on_deadline": "approve"}, "on_deadline must be 'reject' or 'fail'", id="default"),
        pytest.param({"deadline": timedelta(0)}, "deadline must be positive", id="deadline"),
        pytest.param({"form": dict}, "form must be a pydantic model class", id="no-model"),
        pytest.param(
            {"form": create_model("Big", **{f"field_{n}": (str, ...) for n in range(400)})},  # type: ignore[call-overload]
            "at most 8,192 go with a request",
            id="size",
        ),
    ],
)
def test_a_question_that_cannot_work_is_refused(options: dict[str, Any], says: str) -> None:
    """P7: a name, default, deadline or form that cannot work is refused where the question is made."""
    with pytest.raises(DefinitionError, match=says):
        question(**options)
