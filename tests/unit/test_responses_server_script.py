"""How a script chooses its steps, and how it is served from a file."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import httpx2
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import ResponseInputItemParam

from handfast.testing.responses_server import ResponsesServer, main
from handfast.testing.script import (
    Delay,
    Drop,
    Fail,
    Gate,
    RecordedRequest,
    Reply,
    Script,
    ScriptInvalidError,
    Step,
    Verbatim,
    When,
    call,
    text,
)

SAID = {"role": "assistant", "content": "earlier"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "run", "arguments": '{"target": "x"}'}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "it failed"}


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def request(*items: dict[str, str], instructions: str = "", model: str = "m") -> RecordedRequest:
    body = {"model": model, "instructions": instructions}
    return RecordedRequest(1, "POST", "/v1/responses", {}, body, datetime.now(UTC), items=items)


def played(script: Script, *requests: RecordedRequest) -> list[Step | None]:
    choose = script.player()
    return [choose(each) for each in requests]


def test_a_sequence_gives_each_request_the_next_step() -> None:
    """Failures take a step as replies do, and after the last there is none; another server starts anew."""
    steps: list[Step] = [Reply(text("one")), Fail(500), Reply(text("two"))]
    script = Script(steps)
    assert played(script, *[request(user("x"))] * 4) == [*steps, None]
    assert played(script, request(user("x"))) == steps[:1]


def test_conversations_do_not_disturb_each_other() -> None:
    """Each run gets the steps of its own marker, in whatever order the requests of several runs arrive."""
    first, second, other = Reply(call("run")), Reply(text("a")), Reply(text("b"))
    script = Script.per_conversation({"ticket 1": [first, second], "ticket 2": [other]})
    one, two = user("do ticket 1"), user("do ticket 2")
    assert played(
        script,
        request(one, CALL, OUTPUT),
        request(two),
        request(one),
        request(one),
        request(two, SAID, user("more")),
        request(user("ticket 3")),
    ) == [second, other, first, first, None, None]


def test_failures_in_a_conversation_are_taken_once() -> None:
    """A retry after a scripted failure gets the step behind it, and repeats of the reply get the reply."""
    retried = Gate("g", then=Reply(text("a")))
    script = Script.per_conversation({"": [Fail(429), Drop(), retried, Fail(500)]})
    start, later = request(user("x")), request(user("x"), SAID, user("y"))
    assert played(script, start, start, start, start, later, later) == [
        Fail(429),
        Drop(),
        retried,
        retried,
        Fail(500),
        None,
    ]
    assert played(script, start, request(user("other"))) == [Fail(429), Fail(429)]


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        pytest.param(When(then=Fail(500)), True, id="always"),
        pytest.param(When(lambda request: request.turns == 1, then=Fail(500)), True, id="predicate"),
        pytest.param(When(lambda request: False, then=Fail(500), turn=1), False, id="predicate-false"),
        pytest.param(When(contains="target", then=Fail(500)), True, id="contains-arguments"),
        pytest.param(When(contains="absent", then=Fail(500)), False, id="contains-not"),
        pytest.param(When(first_user="clean", then=Fail(500)), True, id="first-user"),
        pytest.param(When(latest="it failed", then=Fail(500)), True, id="latest-output"),
        pytest.param(When(latest="clean", then=Fail(500)), False, id="latest-not"),
        pytest.param(When(instructions="auditor", then=Fail(500)), True, id="instructions"),
        pytest.param(When(model="m", then=Fail(500)), True, id="model"),
        pytest.param(When(turn=1, contains="clean", then=Fail(500)), True, id="two-conditions"),
        pytest.param(When(turn=0, contains="clean", then=Fail(500)), False, id="one-of-two"),
    ],
)
def test_a_rule_plays_when_all_its_conditions_hold(rule: When, matches: bool) -> None:
    """Rules look at the first message, at what is new, at the instructions, the model and the turn."""
    asked = request(user("clean up"), CALL, OUTPUT, instructions="You are an auditor.")
    assert played(Script.rules(rule), asked, asked) == [rule.then if matches else None] * 2


@pytest.mark.parametrize(
    ("items", "turns"),
    [
        pytest.param([user("x")], 0, id="none"),
        pytest.param([user("x"), CALL, CALL, OUTPUT, OUTPUT], 1, id="parallel-calls-are-one"),
        pytest.param([user("x"), {"type": "reasoning"}, SAID, CALL, OUTPUT, SAID], 2, id="reasoning-belongs"),
        pytest.param([user("x"), SAID, user("y"), SAID, user("z")], 2, id="messages"),
    ],
)
def test_turns_are_counted_from_the_input(items: Sequence[dict[str, str]], turns: int) -> None:
    """A turn is an unbroken group of what the model made."""
    assert request(*items).turns == turns


async def test_a_function_chooses_by_the_request() -> None:
    """`Script.of` gets the record; None ends the script, and an exception is a visible refusal."""

    def choose(request: RecordedRequest) -> Step | None:
        return {"hello": Reply(text("hi")), "bye": None}[request.first_user_text]

    async with (
        ResponsesServer(Script.of(choose)) as server,
        AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0) as client,
    ):
        assert (await client.responses.create(model="m", input="hello")).output_text == "hi"
        for word, code in (("bye", "script_exhausted"), ("other", "script_failed")):
            with pytest.raises(openai.BadRequestError) as caught:
                await client.responses.create(model="m", input=word)
            assert caught.value.code == code
    assert [violation.code for violation in server.violations] == ["script_exhausted", "script_failed"]


async def test_a_script_that_runs_out_says_so() -> None:
    """The request behind the last step is refused for good, with its number in the error."""
    async with (
        ResponsesServer([Reply(text("only"))]) as server,
        AsyncOpenAI(base_url=server.base_url, api_key="test") as client,
    ):
        await client.responses.create(model="m", input="x")
        with pytest.raises(openai.BadRequestError, match="the script has no step for request 2"):
            await client.responses.create(model="m", input="x")


async def test_parallel_runs_each_get_their_own_conversation() -> None:
    """Twenty runs at once, each with a call and an answer, all end with their own text."""
    script = Script.per_conversation(
        {f"run {n:02}": [Reply(call("f", {"n": n})), Reply(text(f"end {n}"))] for n in range(20)}
    )

    async def run(client: AsyncOpenAI, n: int) -> str:
        items: list[ResponseInputItemParam] = [{"role": "user", "content": f"run {n:02}"}]
        first = await client.responses.create(model="m", input=items, store=False)
        (made,) = first.output
        assert made.type == "function_call"
        items.append({"type": "function_call", "call_id": made.call_id, "name": made.name, "arguments": made.arguments})
        items.append({"type": "function_call_output", "call_id": made.call_id, "output": "ok"})
        return (await client.responses.create(model="m", input=items, store=False)).output_text

    async with (
        ResponsesServer(script) as server,
        AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0) as client,
    ):
        assert await asyncio.gather(*[run(client, n) for n in range(20)]) == [f"end {n}" for n in range(20)]
    assert server.violations == []


async def test_automatic_call_ids_are_free_ones() -> None:
    """A new call never takes the id of one that is already in the conversation."""
    async with (
        ResponsesServer([Reply(call("run"), call("run", call_id="call_3"), call("run"))]) as server,
        AsyncOpenAI(base_url=server.base_url, api_key="test") as client,
    ):
        items: list[ResponseInputItemParam] = [
            {"type": "function_call", "call_id": "call_1", "name": "run", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "ok"},
        ]
        response = await client.responses.create(model="m", input=items)
    ids = [item.call_id for item in response.output if item.type == "function_call"]
    assert ids == ["call_2", "call_3", "call_4"]


def test_a_failure_has_a_failures_status() -> None:
    """A failure status below 400 is refused where the script is written, not where it is played."""
    with pytest.raises(ValueError, match="200 is no failure"):
        Fail(200)


STEPS = [
    {
        "kind": "reply",
        "outputs": [
            {"kind": "text", "text": "a"},
            {"kind": "call", "name": "f", "arguments": {"x": 1}},
            {"kind": "call", "name": "f", "arguments": "{broken", "call_id": "c"},
        ],
        "usage": {"input_tokens": 1, "output_tokens": 2},
    },
    {"kind": "fail", "status": 429, "retry_after": 0.5},
    {"kind": "delay", "seconds": 1, "then": {"kind": "gate", "name": "g", "then": {"kind": "drop"}}},
]


def test_a_script_can_be_written_as_json() -> None:
    """The JSON form means the same as the Python form, for sequences, conversations and rules."""
    reply, fail, delay = played(Script.from_json(json.dumps(STEPS)), *[request(user("x"))] * 3)
    assert isinstance(reply, Reply)
    assert [output.kind for output in reply.outputs] == ["text", "call", "call"]
    assert reply.outputs[1] == call("f", {"x": 1})
    assert reply.outputs[2] == call("f", "{broken", "c")
    assert fail == Fail(429, retry_after=0.5)
    assert delay == Delay(1, then=Gate("g", then=Drop()))
    conversations = {"kind": "per_conversation", "conversations": {"x": STEPS[1:2]}}
    rules = {"kind": "rules", "rules": [{"kind": "when", "contains": "x", "then": STEPS[1]}]}
    for form in (conversations, rules):
        assert played(Script.from_json(json.dumps(form)), request(user("x"))) == [fail]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        pytest.param("{", "Invalid JSON", id="no-json"),
        pytest.param("3", "sequence: Input should be an object", id="number"),
        pytest.param('[{"kind": "zap"}]', "'zap'", id="unknown-kind"),
        pytest.param('[{"kind": "reply", "outputz": []}]', "outputz: Unexpected", id="unknown-field"),
        pytest.param('[{"kind": "fail", "status": "429"}]', "status: Input should be a valid integer", id="type"),
        pytest.param('[{"kind": "fail", "status": 200}]', "200 is no failure", id="no-failure"),
        pytest.param('{"kind": "all", "steps": []}', "'all'", id="unknown-form"),
    ],
)
def test_a_malformed_script_is_one_line(source: str, problem: str) -> None:
    """The error names the place and the problem, in one line."""
    with pytest.raises(ScriptInvalidError) as caught:
        Script.from_json(source)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_the_command_serves_a_script_from_another_process(tmp_path: Path) -> None:
    """It prints its address when ready, opens gates and lists requests over HTTP, and ends on SIGTERM."""
    file = tmp_path / "script.json"
    file.write_text(json.dumps([{"kind": "gate", "name": "go on", "then": STEPS[0]}]))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "handfast.testing.responses_server", "--script", str(file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    address = (await process.stdout.readline()).decode().strip()
    async with AsyncOpenAI(base_url=address, api_key="test") as client, httpx2.AsyncClient() as control:
        asking = asyncio.create_task(client.responses.create(model="m", input="x"))
        root = address.removesuffix("/v1")
        assert (await control.post(f"{root}/_script/gates/go%20on")).status_code == 200
        assert (await asking).output_text == "a"
        (listed,) = (await control.get(f"{root}/_script/requests")).json()["requests"]
        assert (listed["number"], listed["state"], listed["body"]["input"]) == (1, "answered", "x")
        assert (await control.get(f"{root}/_script/other")).status_code == 404
    process.terminate()
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")


async def test_the_command_refuses_what_it_cannot_serve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing file, a malformed script and an impossible port are one line each and an exit code."""
    file = tmp_path / "script.json"
    assert main(["--script", str(file)]) == 2
    file.write_text("[{}]")
    assert main(["--script", str(file)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "No such file" in lines[0]
    assert "not a script" in lines[1]


KEY = {"authorization": "Bearer k"}
QUESTION: ResponseInputItemParam = {"role": "user", "content": "go"}


async def streamed(server: ResponsesServer) -> list[str]:
    """Types of the events of one streamed response."""
    async with AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client:
        stream = await client.responses.create(model="m", input=[QUESTION], stream=True)
        return [event.type async for event in stream]


@pytest.mark.parametrize(("inside", "last"), [("event", "error"), ("response", "response.failed")])
async def test_an_error_inside_a_200_ends_the_stream(inside: Literal["event", "response"], last: str) -> None:
    """A failure may come after the status: as an event of its own, or as a response that failed."""
    async with ResponsesServer([Fail(503, code="server_is_overloaded", inside=inside, retry_after=2)]) as server:
        assert await streamed(server) == ["response.created", "response.in_progress", last]
        assert [(request.status, request.state) for request in server.requests] == [(200, "failed")]


@pytest.mark.parametrize("inside", ["event", "response"])
async def test_an_error_inside_a_200_without_a_stream_is_its_body(inside: Literal["event", "response"]) -> None:
    """The body holds the error alone, or a response that failed with it."""
    step = Fail(429, code="slow_down", message="later", inside=inside, retry_after=2)
    async with ResponsesServer([step]) as server, httpx2.AsyncClient(headers=KEY) as client:
        answer = await client.post(f"{server.base_url}/responses", json={"model": "m", "input": [QUESTION]})
    assert (answer.status_code, answer.headers["retry-after"]) == (200, "2")
    assert (answer.json().get("status"), answer.json()["error"]["code"]) == (
        {"event": None, "response": "failed"}[inside],
        "slow_down",
    )


async def test_a_verbatim_answer_is_sent_as_it_is_written() -> None:
    """Bodies, events, status and headers of any server can be played, well formed or not."""
    step = Verbatim({"detail": "busy"}, [{"type": "response.created"}, "data: {half"], 503, {"x-from": "proxy"})
    async with ResponsesServer([step, step]) as server, httpx2.AsyncClient(headers=KEY) as client:
        ask = {"model": "m", "input": [QUESTION]}
        whole = await client.post(f"{server.base_url}/responses", json=ask)
        pieces = await client.post(f"{server.base_url}/responses", json={**ask, "stream": True})
    assert (whole.status_code, whole.headers["x-from"], whole.json()) == (503, "proxy", {"detail": "busy"})
    assert pieces.text == 'event: response.created\ndata: {"type": "response.created"}\n\ndata: {half\n\n'


def test_a_verbatim_answer_can_be_written_in_a_file() -> None:
    """The JSON form of a script has it as well."""
    script = Script.from_json('[{"kind": "verbatim", "body": {"output": null}, "events": [{"type": "error"}]}]')
    assert played(script, request(user("x"))) == [Verbatim({"output": None}, [{"type": "error"}])]
