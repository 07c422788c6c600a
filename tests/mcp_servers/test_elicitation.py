"""A server that asks a person in the middle of a call: the question waits like any other, and the call goes on."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from handfast import Agent, Answer, Approval, McpServer, Reject, RunAgain
from handfast.errors import AnswerRefusedError
from handfast.payloads.json_profile import JsonObject
from handfast.testing import Lab, Reply, call, text
from support.desk import outputs
from support.labs import MakeLab
from support.mcp.shown import shown
from support.mcp.world import Called, World, said

CROOKED: Final = Path(__file__).parents[1] / "support" / "mcp" / "crooked.py"
DONE = Reply(text("done"))
WRITE = Reply(call("write", {"name": "a"}, "c1"))
FORM: JsonObject = {
    "type": "object",
    "properties": {"why": {"type": "string"}, "copies": {"type": "integer"}},
    "required": ["why"],
}


def form(message: str = "Why?", schema: JsonObject = FORM) -> JsonObject:
    """What a server asks for as a form."""
    return {
        "method": "elicitation/create",
        "params": {"mode": "form", "message": message, "requestedSchema": schema},
    }


def page(url: str) -> JsonObject:
    """What a server asks for as the visit of a page."""
    return {"method": "elicitation/create", "params": {"mode": "url", "message": "Sign in", "url": url}}


def asks(state: str | None = "s1", **requests: JsonObject) -> JsonObject:
    """The answer of a server that wants to know something first."""
    told: JsonObject = {"resultType": "input_required"}
    if requests:
        told["inputRequests"] = requests
    return told if state is None else {**told, "requestState": state}


def desk(world: World, **options: Any) -> Agent:
    """An agent with the world's server, about whose tools nobody is asked."""
    return Agent("desk", model="m", mcp=[world.stdio(**{"approval": False, **options})])


async def test_a_server_asks_and_the_call_goes_on(make_lab: MakeLab, world: World, cache: int) -> None:
    """The question has the server's words and form; an answer that does not fit is refused, and one that does goes to
    the server with its state."""
    lab = await make_lab([desk(world)], script=[WRITE, DONE], max_cached_workflows=cache)
    world.answers = None
    run = await lab.start("desk")
    (await world.called()).answer(asks(why=form()))
    request = await lab.next_request(run)
    assert (request.kind, request.tool, request.verdicts) == ("question", "write", ["answer", "reject"])
    assert request.facts is not None
    assert (request.facts["question"], request.facts["schema"]) == ("Why?", FORM)
    assert request.facts["mcp"]["server"] == "store"
    assert [each in shown(request) for each in ("question  Why?", "write", '"copies"')] == [True] * 3
    with pytest.raises(AnswerRefusedError, match="copies: must satisfy type"):
        await run.answer(request, {"why": "x", "copies": "two"}, decided_by="ana")
    await run.answer(request, {"why": "it is late", "copies": 2}, decided_by="ana")
    again = await world.called()
    assert again.params["requestState"] == "s1"
    assert again.params["inputResponses"] == {
        "why": {"action": "accept", "content": {"why": "it is late", "copies": 2}}
    }
    assert again.params["arguments"] == {"name": "a"}
    again.answer(said("written"))
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", "written")]
    events = [event.type async for event in run.events()]
    assert events.count("tool_called") == 2
    assert events[events.index("tool_asked") :].count("tool_output") == 1


@pytest.mark.parametrize(
    ("verdict", "action"),
    [
        pytest.param(Answer(output="done"), "accept", id="visited"),
        pytest.param(Reject(), "decline", id="declined"),
    ],
)
async def test_a_page_to_visit_is_shown_as_a_link(
    make_lab: MakeLab, world: World, verdict: Answer | Reject, action: str
) -> None:
    """A person answers once they have been there, or declines; the server hears which, and nothing else."""
    lab = await make_lab([desk(world)], script=[WRITE, DONE])
    world.answers = None
    run = await lab.start("desk")
    (await world.called()).answer(asks(None, at=page("https://bank.example/ok?7")))
    request = await lab.next_request(run)
    assert request.facts is not None
    assert (request.facts["question"], request.facts["url"]) == ("Sign in", "https://bank.example/ok?7")
    assert "schema" not in request.facts
    assert "visit     https://bank.example/ok?7" in shown(request)
    await run.decide(request, verdict, decided_by="ana")
    again = await world.called()
    assert again.params["inputResponses"] == {"at": {"action": action}}
    again.answer(said("ok"))
    assert (await run.result()).output == "done"


async def test_several_questions_are_asked_one_by_one(make_lab: MakeLab, world: World) -> None:
    """The call goes on when all are answered, with the answers to all; it may be asked again."""
    lab = await make_lab([desk(world)], script=[WRITE, DONE])
    world.answers = None
    run = await lab.start("desk")
    (await world.called()).answer(asks(first=form("First?"), second=form("Second?")))
    for name in ("First?", "Second?"):
        request = await lab.next_request(run)
        assert request.facts is not None
        assert request.facts["question"] == name
        await run.answer(request, {"why": name}, decided_by="ana")
    again = await world.called()
    assert {key: each["content"] for key, each in again.params["inputResponses"].items()} == {
        "first": {"why": "First?"},
        "second": {"why": "Second?"},
    }
    again.answer(asks("s2", third=form("Third?")))
    await run.answer(await lab.next_request(run), {"why": "so"}, decided_by="ana")
    last = await world.called()
    assert (last.params["requestState"], list(last.params["inputResponses"])) == ("s2", ["third"])
    last.answer(said("ok"))
    assert (await run.result()).output == "done"


async def test_a_question_of_a_server_outlives_worker_and_server(make_lab: MakeLab, world: World) -> None:
    """A gated call is approved, its server asks; the worker dies with the server, and the next one goes on with the
    answer: the approval still holds, and nobody is asked twice."""
    lab = await make_lab("support.mcp.desk:desk", script=[WRITE, DONE], environment={"MCP_WORLD": str(world.path)})
    world.answers = None
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    first = await world.called()
    first.answer(asks(why=form()))
    request = await lab.next_request(run)
    assert request.kind == "question"
    await lab.kill_worker()
    await lab.start_worker()
    await run.answer(request, {"why": "it is late"}, decided_by="ana")
    again = await world.called()
    assert again.pid != first.pid
    assert again.params["requestState"] == "s1"
    assert again.params["_meta"]["handfast/idempotency-key"] == first.params["_meta"]["handfast/idempotency-key"]
    again.answer(said("written"))
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", "written")]


async def test_who_may_approve_the_call_may_answer_its_server(make_lab: MakeLab, world: World) -> None:
    """The question asks those whom the tool's approval names, and silence answers nothing."""
    rule = Approval(approvers=["cfo"], on_deadline="reject")
    lab = await make_lab([desk(world, approval={"write": rule})], script=[WRITE, DONE])
    world.answers = None
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="cfo")
    (await world.called()).answer(asks(why=form()))
    request = await lab.next_request(run)
    assert (request.kind, request.approvers) == ("question", ["cfo"])
    await run.answer(request, {"why": "so"}, decided_by="cfo")
    (await world.called()).answer(said("ok"))
    assert (await run.result()).output == "done"


async def test_a_call_is_cancelled_while_its_server_waits_for_an_answer(make_lab: MakeLab, world: World) -> None:
    """The question is withdrawn and the call is not made again."""
    lab = await make_lab([desk(world)], script=[WRITE, DONE])
    world.answers = None
    run = await lab.start("desk")
    (await world.called()).answer(asks(why=form()))
    await lab.next_request(run)
    await run.cancel_call("c1", reason="no need")
    assert (await run.result()).output == "done"
    assert world.effects == ["write a"]
    assert await run.pending() == []


async def settled(lab: Lab, world: World, answers: Any) -> str:
    """What the model reads of a call whose server answers so; every question is answered."""
    world.answers = answers
    run = await lab.start("desk")
    async for request in run.requests():
        await run.answer(request, {"why": "so"}, decided_by="ana")
    assert (await run.result()).output == "done"
    [(_, output)] = outputs(lab)
    return str(output)


async def test_a_server_that_asks_without_end_is_not_answered_for_ever(make_lab: MakeLab, world: World) -> None:
    """After ten rounds the model reads that the call has failed, and why."""
    lab = await make_lab([desk(world)], script=[WRITE, DONE])
    output = await settled(lab, world, lambda called: asks(f"s{len(world.effects)}", why=form()))
    assert output == "Error: the server has asked 10 times in one call and asks again; it is not answered"
    assert len(world.effects) == 11


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        pytest.param(
            {f"q{place}": form() for place in range(11)}, "the server asks 11 things at once", id="too-many-at-once"
        ),
        pytest.param({"q": page("file:///etc/passwd")}, "none of http or https", id="no-address"),
        pytest.param(
            {"q": form(schema={"type": "object", "properties": {"a": {"type": "string", "title": "x" * 9000}}})},
            "a form of 9,",
            id="large-form",
        ),
        pytest.param({"q": {"method": "roots/list"}}, "something else than a person's answer", id="another-thing"),
    ],
)
async def test_what_nobody_can_be_asked_fails_the_call(
    make_lab: MakeLab, world: World, wanted: Any, problem: str
) -> None:
    """The model reads what was wrong; no question opens."""
    lab = await make_lab([desk(world)], script=[WRITE, DONE])
    assert problem in await settled(lab, world, lambda called: asks(**wanted))


async def test_a_server_that_wants_to_be_asked_again_later_is(make_lab: MakeLab, world: World) -> None:
    """A state without a question is sent back after a pause; nobody is asked."""
    lab = await make_lab([desk(world)], script=[WRITE, DONE])

    def answer(called: Called) -> JsonObject:
        return asks(f"s{len(world.effects)}") if len(world.effects) < 4 else said(str(called.params["requestState"]))

    assert await settled(lab, world, answer) == "s3"


# --- servers of the older protocol, whose session has to live ---


def asking(log: Path, **options: Any) -> McpServer:
    """A server of the older protocol whose tool asks two questions in the middle of a call."""
    return McpServer.stdio("asker", sys.executable, str(CROOKED), "asks", str(log), **options)


async def test_a_live_session_is_held_for_the_answers(make_lab: MakeLab, tmp_path: Path, cache: int) -> None:
    """The call is made once, whatever time its questions take: no activity runs meanwhile."""
    log = tmp_path / "calls"
    agent = Agent("desk", model="m", mcp=[asking(log, approval=False)])
    lab = await make_lab([agent], script=[Reply(call("look", {}, "c1")), DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    for message in ("Why?", "How?"):
        request = await lab.next_request(run)
        assert (request.kind, request.facts and request.facts["question"]) == ("question", message)
        described = await lab.client.get_workflow_handle(run.id).describe()
        assert not described.raw_description.pending_activities
        if message == "Why?":
            await run.answer(request, {"said": "so"}, decided_by="ana")
        else:
            await run.reject(request, decided_by="ana")
    assert (await run.result()).output == "done"
    [(_, output)] = outputs(lab)
    assert json.loads(output) == [{"action": "accept", "content": {"said": "so"}}, {"action": "decline"}]
    assert log.read_text().splitlines() == ["look"]


async def test_a_call_that_waits_no_more_is_cancelled_at_the_server(make_lab: MakeLab, tmp_path: Path) -> None:
    """Where call or run are cancelled while a live session is held for an answer, the server hears of it."""
    logs = [tmp_path / name for name in ("call", "run")]
    agents = [Agent(log.name, model="m", mcp=[_named(asking(log, approval=False), log.name)]) for log in logs]
    lab = await make_lab(agents, script=[Reply(call("look", {}, "c1")), Reply(call("look", {}, "c1")), DONE])
    runs = [await lab.start(log.name) for log in logs]
    for run in runs:
        await lab.next_request(run)
    await runs[0].cancel_call("c1")
    await runs[1].cancel()
    assert (await runs[0].result()).output == "done"
    async with asyncio.timeout(30):
        for log in logs:
            while "cancelled" not in log.read_text().splitlines():  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.1)


async def test_a_live_session_that_ends_with_its_worker(make_lab: MakeLab, tmp_path: Path) -> None:
    """A call that may be repeated is made again, and asks again; of one that may not the outcome is unknown, and a
    person says whether it runs again."""
    logs = {effect: tmp_path / effect for effect in ("idempotent", "at_most_once")}
    agents = [
        Agent(effect, model="m", mcp=[_named(asking(log, effect=effect, approval=rule, on_unknown="ask"), effect)])
        for (effect, log), rule in zip(logs.items(), (False, False), strict=True)
    ]
    lab = await make_lab(agents, script=[Reply(call("look", {}, "c1")), Reply(call("look", {}, "c1")), DONE, DONE])
    runs = {effect: await lab.start(effect) for effect in logs}
    asked = {effect: await lab.next_request(run) for effect, run in runs.items()}
    await lab.replace_worker()
    for effect, run in runs.items():
        await run.answer(asked[effect], {"said": "so"}, decided_by="ana")
    doubt = await lab.next_request(runs["at_most_once"])
    assert doubt.kind == "in_doubt"
    await runs["at_most_once"].decide(doubt, RunAgain(), decided_by="lead")
    for run in runs.values():
        async for request in run.requests():
            await run.answer(request, {"said": "now"}, decided_by="ana")
        assert (await run.result()).output == "done"
    assert [log.read_text().splitlines().count("look") for log in logs.values()] == [2, 2]


def _named(server: McpServer, name: str) -> McpServer:
    return replace(server, name=name)
