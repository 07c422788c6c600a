"""Agents on a server of the Chat Completions API: a gated agent, its kills, and what a server answers that is none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from handfast import Agent, ChatCompletionsModel, Image, InProcessDeltas, ResponsesModel, custom_tool, tool, web_search
from handfast.errors import DefinitionError, RunFailedError
from handfast.payloads.deltas import Delta
from handfast.payloads.events import ModelReplied, RequestOpened
from handfast.testing import Drop, Fail, Lab, Pause, Reply, Verbatim, call, custom_call, reasoning, refusal, text
from handfast.testing.script import Step, Usage
from support.events import to_the_end
from support.evidence import failed_tasks
from support.labs import Effects, MakeLab
from support.shredder import shredder
from support.twelve_lines import desk

CHAT = {"default": ChatCompletionsModel}
STEPS = [
    Reply(reasoning("fans first"), text("One moment."), call("look", {"at": "fans"}, "c1"), usage=Usage(100, 20, 0, 5)),
    Reply(reasoning("now the rest"), call("clean", {"target": "temp"}, "c2"), usage=Usage(150, 10, 64, 5)),
    Reply(text("Both are done."), usage=Usage(200, 10)),
]
HOW = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


async def chat_lab(make_lab: MakeLab, agents: Sequence[Agent] | str, script: Sequence[Step], **options: Any) -> Lab:
    """A lab whose agents ask by Chat Completions."""
    return await make_lab(agents, script=script, models=CHAT, **options)


@HOW
async def test_a_gated_agent_runs_on_chat_completions(make_lab: MakeLab, streamed: bool) -> None:
    """Tools, a person's approval, reasoning and usage are those of the Responses API, streamed or not."""
    lab = await chat_lab(make_lab, [desk], STEPS, deltas=InProcessDeltas())
    run = await lab.start(desk, "Clean up.", stream=streamed)
    request = await lab.next_request(run)
    assert (request.tool, request.arguments) == ("clean", {"target": "temp"})
    await run.approve(request, decided_by="lead")
    result = await run.result()
    assert result.output == "Both are done."
    assert lab.model.violations == []
    assert {each.path for each in lab.model.requests} == {"/v1/chat/completions"}
    assert lab.model.requests[2].tool_outputs == {"c1": "fans are on", "c2": "temp is gone"}
    thoughts = [each["reasoning_content"] for each in lab.model.requests[2].body["messages"] if "tool_calls" in each]
    assert thoughts == ["fans first", "now the rest"]
    usage = result.usage
    assert (usage.requests, usage.input_tokens, usage.output_tokens, usage.total_tokens) == (3, 450, 40, 490)
    assert (usage.cached_input_tokens, usage.reasoning_tokens) == (64, 10)


async def test_words_are_told_while_they_are_written(make_lab: MakeLab) -> None:
    """A streamed run tells what the model thinks, says, and writes as arguments, before the reply is whole."""
    lab = await chat_lab(make_lab, [desk], [Pause("gate", STEPS[0], after=1), *STEPS[1:]], deltas=InProcessDeltas())
    run = await lab.start(desk, "Clean up.", stream=True)
    told: dict[str, str] = {}
    async with asyncio.timeout(30), aclosing(run.stream()) as items:
        async for item in items:
            if isinstance(item, Delta):
                lab.model.open("gate")
                told[item.kind] = told.get(item.kind, "") + item.text
            elif isinstance(item, RequestOpened):
                break
    assert told["text"] == "One moment."
    assert told["reasoning"] == "fans firstnow the rest"
    assert told["arguments"] == '{"at":"fans"}{"target":"temp"}'


@HOW
async def test_a_run_on_chat_completions_survives_its_worker(make_lab: MakeLab, streamed: bool) -> None:
    """The worker is killed while a person thinks; another one goes on, and asks the model nothing again."""
    lab = await make_lab("support.chat_desk:plugin", script=STEPS)
    run = await lab.start("desk", "Clean up.", stream=streamed)
    request = await lab.next_request(run)
    await lab.kill_worker()
    await lab.start_worker()
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "Both are done."
    assert len(lab.model.requests) == 3
    assert lab.model.violations == []


async def test_every_task_of_such_a_run_can_be_replayed(make_lab: MakeLab) -> None:
    """A worker that keeps no run in its cache takes each task from the start."""
    lab = await chat_lab(make_lab, [desk], STEPS, max_cached_workflows=0)
    run = await lab.start(desk, "Clean up.")
    await run.approve(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).output == "Both are done."
    assert await failed_tasks(lab, run) == 0


class Forecast(BaseModel):
    degrees: int


@pytest.mark.parametrize("structured", ["json_schema", "json_object", "prompt"])
async def test_an_answer_of_a_type(make_lab: MakeLab, structured: Any) -> None:
    """A type is asked for as the server knows it, and checked as ever."""
    agent = Agent("weather", instructions="Say it as JSON.", model="m", output_type=Forecast)
    models = {"default": lambda client: ChatCompletionsModel(client, structured=structured)}
    lab = await make_lab([agent], script=[Reply(text('{"degrees": 21}'))], models=models)
    assert (await (await lab.start(agent, "Tomorrow?")).result()).output == Forecast(degrees=21)
    assert lab.model.violations == []
    body = lab.model.requests[0].body
    assert body.get("response_format", {}).get("type") == (None if structured == "prompt" else structured)
    assert ("degrees" in body["messages"][0]["content"]) is (structured != "json_schema")


async def test_parallel_calls_custom_tools_and_images(make_lab: MakeLab) -> None:
    """Several calls of one reply are answered in one go; a custom tool gets its text; a picture is shown."""

    @tool
    async def picture(of: str) -> Image:
        """Take a picture."""
        return Image(url=f"https://pictures.example/{of}.png")

    @custom_tool
    async def note(line: str) -> str:
        """Write a line."""
        return f"noted {line}"

    agent = Agent("press", model="m", tools=[picture, note])
    steps = [Reply(call("picture", {"of": "cat"}, "c1"), custom_call("note", "a line", "c2")), Reply(text("A cat."))]
    lab = await chat_lab(make_lab, [agent], steps)
    assert (await (await lab.start(agent, "Show me.")).result()).output == "A cat."
    assert lab.model.violations == []
    messages = lab.model.requests[1].body["messages"]
    assert [each["role"] for each in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert messages[3]["content"] == "noted a line"
    assert messages[4]["content"][1]["image_url"]["url"] == "https://pictures.example/cat.png"


async def test_a_refusal_is_a_refusal(make_lab: MakeLab) -> None:
    """A model that declines ends the run as one of the Responses API does."""
    lab = await chat_lab(make_lab, [desk], [Reply(refusal("I will not."))])
    with pytest.raises(RunFailedError, match="I will not"):
        await (await lab.start(desk, "Do harm.")).result()


async def test_settings_and_transport_reach_the_server(make_lab: MakeLab) -> None:
    """An agent's settings keep the words of the Responses API; headers and query go with the request."""
    agent = Agent(
        "desk",
        model="m",
        model_settings={
            "max_output_tokens": 50,
            "reasoning": {"effort": "low"},
            "top_logprobs": 2,
            "seed": 7,
            "extra_headers": {"X-Department": "press"},
            "extra_query": {"trace": "1"},
        },
    )
    models = {"default": lambda client: ChatCompletionsModel(client, max_tokens="max_tokens", role="developer")}
    lab = await make_lab([agent], script=[Reply(text("fine"))], models=models)
    await (await lab.start(agent, "go")).result()
    [request] = lab.model.requests
    assert lab.model.violations == []
    assert (request.headers["x-department"], request.query) == ("press", {"trace": "1"})
    body = {name: request.body[name] for name in ("max_tokens", "reasoning_effort", "logprobs", "top_logprobs", "seed")}
    assert body == {"max_tokens": 50, "reasoning_effort": "low", "logprobs": True, "top_logprobs": 2, "seed": 7}


async def test_a_setting_that_the_api_does_not_have_keeps_the_worker_from_starting(make_lab: MakeLab) -> None:
    """A worker refuses an agent whose settings Chat Completions has nothing for."""
    agent = Agent("desk", model="m", model_settings={"truncation": "auto"})
    with pytest.raises(DefinitionError, match="truncation"):
        await chat_lab(make_lab, [agent], [])


async def test_an_option_that_does_not_exist_is_named() -> None:
    """A wrong option of the entry says which values there are."""
    async with openai.AsyncOpenAI(api_key="test") as client:
        with pytest.raises(DefinitionError, match="reasoning must be one of 'keep', 'turn', 'drop', not 'some'"):
            ChatCompletionsModel(client, reasoning="some")  # type: ignore[arg-type]


# --- what is no answer ---

MESSAGE: dict[str, Any] = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "hi"}],
}
RESPONSE: dict[str, Any] = {"id": "resp_1", "object": "response", "status": "completed", "output": [MESSAGE]}
CHOICE: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
COMPLETION: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion", "choices": [CHOICE]}
CHUNK = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "hi"}}]}
PAGE = Verbatim("<!DOCTYPE html><html><body>nginx</body></html>", headers={"content-type": "text/html"})

WRONG = [
    pytest.param(
        ChatCompletionsModel,
        Verbatim(RESPONSE, events=[{"type": "response.completed", "response": RESPONSE}]),
        "the server answered a Chat Completions request with a Responses object; make its model entry of Responses",
        id="responses-to-chat",
    ),
    pytest.param(
        ResponsesModel,
        Verbatim(COMPLETION, events=[CHUNK, "data: [DONE]"]),
        "the server answered a Responses request with a chat completion; make its model entry of ChatCompletionsModel",
        id="chat-to-responses",
    ),
]


@HOW
@pytest.mark.parametrize(("entry", "step", "said"), WRONG)
async def test_an_answer_of_the_other_api_ends_the_run_with_one_sentence(
    make_lab: MakeLab, entry: Any, step: Step, said: str, streamed: bool
) -> None:
    """The run fails at once, and its failure names the model entry that speaks the server's API."""
    lab = await make_lab([desk], script=[step], models={"default": entry}, deltas=InProcessDeltas())
    run = await lab.start(desk, "go", stream=streamed)
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert (failed.value.kind, said in str(failed.value)) == ("ModelRefused", True)
    assert await failed_tasks(lab, run) == 0


BOTH = (ChatCompletionsModel, ResponsesModel)
HALF = 'data: {"choices": [{"delta": {"content": "h'
BROKEN: dict[str, tuple[Step, str, Sequence[Any]]] = {
    "html": (PAGE, "a web page instead of JSON; check the address of its model entry", BOTH),
    "empty-body": (Verbatim(""), "the model's reply is empty: no body came", BOTH),
    "half-an-event": (Verbatim('{"choices": [', events=[HALF]), "the model's reply is not JSON", BOTH),
    "no-object": (Verbatim([1], events=["data: [1]"]), "the model's reply", BOTH),
    "no-choice": (Verbatim({"choices": []}, events=[{"choices": []}]), "has no choice with a message", BOTH[:1]),
    "no-message": (Verbatim({"choices": [{}]}, events=["data: hi"]), "has no choice with a message", BOTH[:1]),
}
PAIRS = [(name, entry) for name, (_, _, entries) in BROKEN.items() for entry in entries]


@HOW
@pytest.mark.parametrize(("how", "entry"), PAIRS)
async def test_what_is_no_answer_is_asked_for_again(make_lab: MakeLab, how: str, entry: Any, streamed: bool) -> None:
    """A web page, an empty body, half an event: the next answer counts, and nothing is executed twice."""
    effects: Effects = []
    steps = [Reply(call("shred", {"page": "7"})), BROKEN[how][0], Reply(text("fine"))]
    agent = shredder(effects, model="m")
    lab = await make_lab([agent], script=steps, models={"default": entry}, deltas=InProcessDeltas())
    run = await lab.start(agent, "go", stream=streamed)
    await run.approve(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).output == "fine"
    assert (len(lab.model.requests), effects) == (3, ["7"])
    assert await failed_tasks(lab, run) == 0


@pytest.mark.parametrize(("how", "entry"), PAIRS)
async def test_what_stays_no_answer_is_named_in_one_sentence(make_lab: MakeLab, how: str, entry: Any) -> None:
    """A server that goes on so ends the run, with the reason."""
    step, said, _ = BROKEN[how]
    lab = await make_lab([desk], script=[step] * 3, models={"default": entry})
    run = await lab.start(desk, "go")
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert failed.value.kind == "ModelReplyInvalid"
    assert said in str(failed.value)
    assert "\n" not in str(failed.value)


@HOW
@pytest.mark.parametrize("entry", BOTH)
async def test_a_tool_that_was_not_offered_is_told_to_the_model(make_lab: MakeLab, entry: Any, streamed: bool) -> None:
    """The model reads that there is no such tool, the call beside it runs once, and the run goes on."""
    effects: Effects = []
    agent = shredder(effects, model="m")
    steps = [Reply(call("format_disk", {}, "c1"), call("shred", {"page": "7"}, "c2")), Reply(text("Sorry."))]
    lab = await make_lab([agent], script=steps, models={"default": entry}, deltas=InProcessDeltas())
    run = await lab.start(agent, "go", stream=streamed)
    await run.approve(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).output == "Sorry."
    assert "format_disk" in lab.model.requests[1].tool_outputs["c1"]
    assert effects == ["7"]
    assert lab.model.violations == []


async def test_a_hosted_tool_is_refused_before_anything_is_sent(make_lab: MakeLab) -> None:
    """An agent with a tool that the provider would run fails with a sentence that names it."""
    agent = Agent("press", model="m", tools=[web_search()])
    lab = await chat_lab(make_lab, [agent], [])
    with pytest.raises(RunFailedError, match="Chat Completions has nothing for the hosted tool 'web_search'"):
        await (await lab.start(agent, "go")).result()
    assert lab.model.requests == []


@HOW
@pytest.mark.parametrize("entry", BOTH)
async def test_a_reply_that_breaks_off_is_asked_for_again(make_lab: MakeLab, entry: Any, streamed: bool) -> None:
    """A connection that ends in the middle of an event, or of a body, is a reply that broke off."""
    steps = [Drop(after_bytes=150, then=Reply(call("look", {"at": "x" * 300}))), Reply(text("fine"))]
    lab = await make_lab([desk], script=steps, models={"default": entry}, deltas=InProcessDeltas())
    run = await lab.start(desk, "go", stream=streamed)
    assert (await run.result()).output == "fine"
    assert len(lab.model.requests) == 2


@HOW
async def test_a_busy_server_is_asked_again(make_lab: MakeLab, streamed: bool) -> None:
    """A 429 with retry-after, and a failure inside a stream, are tried again as ever."""
    steps: list[Step] = [Fail(429, retry_after=0.1), Fail(503, inside="event", retry_after=0.1), Reply(text("fine"))]
    lab = await chat_lab(make_lab, [desk], steps, deltas=InProcessDeltas())
    run = await lab.start(desk, "go", stream=streamed)
    assert (await run.result()).output == "fine"
    replies = [event for event in await to_the_end(run) if isinstance(event, ModelReplied)]
    assert len(replies) == 1


async def test_too_long_a_conversation_fails_once(make_lab: MakeLab) -> None:
    """A request that is too long is not sent again."""
    step = Fail(400, "This model's maximum context length is 8 tokens.", code="context_length_exceeded")
    lab = await chat_lab(make_lab, [desk], [step])
    with pytest.raises(RunFailedError, match="maximum context length") as failed:
        await (await lab.start(desk, "go")).result(timeout=timedelta(seconds=20))
    assert failed.value.kind == "ModelRefused"
    assert len(lab.model.requests) == 1
