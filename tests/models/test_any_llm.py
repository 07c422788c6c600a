"""Agents on providers that any-llm knows: Claude by Anthropic's own API, others by Chat Completions."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, Protocol

import pytest
from pydantic import BaseModel, Field

from handfast import Agent, AnyLLMModel, Image, InProcessDeltas, custom_tool, tool
from handfast.errors import DefinitionError, RunFailedError
from handfast.models.claude.request import body_of
from handfast.models.input_items import wire_items, with_own_ids
from handfast.models.port import ModelCallError, ModelRequest
from handfast.payloads.deltas import Delta
from handfast.payloads.events import RequestOpened
from handfast.testing import Drop, Fail, Lab, Pause, Reply, ResponsesServer, Verbatim, call, reasoning, refusal, text
from handfast.testing.script import Usage
from handfast.workflows.frame.items import output_item
from support.anthropic_server import REDACTED, AnthropicServer, Step
from support.evidence import failed_tasks
from support.labs import Effects, MakeLab
from support.shredder import shredder
from support.twelve_lines import clean, look

HOW = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
MODEL = "claude-sonnet-5"
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
STEPS: list[Step] = [
    Reply(
        reasoning("First the fans."),
        text("One moment."),
        call("look", {"at": "fans"}, "toolu_1"),
        usage=Usage(100, 20, cached_tokens=60),
    ),
    Reply(
        reasoning("Now the rest."),
        reasoning(REDACTED),
        call("clean", {"target": "temp"}, "toolu_2"),
        usage=Usage(150, 10),
    ),
    Reply(text("Both are done."), usage=Usage(200, 10)),
]


def desk(**options: Any) -> Agent:
    """The agent of twelve lines; the model entry names its model."""
    return Agent("desk", instructions="Help with the machine.", tools=[look, clean], **options)


@asynccontextmanager
async def entry_at(base_url: str, name: str = f"anthropic:{MODEL}") -> AsyncIterator[AnyLLMModel]:
    """A model entry of a server, whose connections are closed at the end."""
    entry = AnyLLMModel(name, api_key="test", api_base=base_url)
    try:
        yield entry
    finally:
        await entry.close()


class Claude(Protocol):
    """Opens a lab whose agents ask a fake of Anthropic's API."""

    async def __call__(self, agents: Sequence[Agent], script: Sequence[Step], **options: Any) -> Lab: ...


@pytest.fixture
def servers() -> list[AnthropicServer]:
    """The servers that a test has opened."""
    return []


@pytest.fixture
async def claude(make_lab: MakeLab, servers: list[AnthropicServer]) -> AsyncIterator[Claude]:
    """Opens labs, and closes their servers after them."""
    async with AsyncExitStack() as stack:

        async def make(agents: Sequence[Agent], script: Sequence[Step], **options: Any) -> Lab:
            server = await stack.enter_async_context(AnthropicServer(script))
            servers.append(server)
            entry = await stack.enter_async_context(entry_at(server.base_url))
            return await make_lab(agents, models={"default": lambda _: entry}, deltas=InProcessDeltas(), **options)

        yield make


@HOW
async def test_a_gated_agent_runs_on_claude(claude: Claude, servers: list[AnthropicServer], streamed: bool) -> None:
    """Thinking, encrypted or signed, goes back word for word within its turn; a person approves; usage is counted."""
    agent = desk(model_settings={"reasoning": {"effort": "low"}})
    lab = await claude([agent], STEPS)
    run = await lab.start(agent, "Clean up.", stream=streamed)
    await run.approve(await lab.next_request(run), decided_by="lead")
    result = await run.result()
    assert result.output == "Both are done."
    [server] = servers
    assert server.violations == []
    last = server.requests[-1]
    kinds = [block["type"] for block in last.blocks]
    assert kinds == [
        *("text", "thinking", "text", "tool_use", "tool_result"),
        *("thinking", "redacted_thinking", "tool_use", "tool_result"),
    ]
    assert (last.body["model"], last.body["system"]) == (MODEL, "Help with the machine.")
    assert (last.body["thinking"], last.body["output_config"]) == ({"type": "adaptive"}, {"effort": "low"})
    usage = result.usage
    assert (usage.requests, usage.input_tokens, usage.cached_input_tokens, usage.output_tokens) == (3, 450, 60, 40)
    assert await failed_tasks(lab, run) == 0


async def test_thinking_survives_another_worker(claude: Claude, servers: list[AnthropicServer]) -> None:
    """The worker is replaced while a person thinks: what goes back to Claude is what it wrote."""
    agent = desk(model_settings={"reasoning": {"effort": "high"}})
    lab = await claude([agent], STEPS, max_cached_workflows=0)
    run = await lab.start(agent, "Clean up.")
    request = await lab.next_request(run)
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "Both are done."
    assert servers[0].violations == []


async def test_words_are_told_while_claude_writes_them(claude: Claude, servers: list[AnthropicServer]) -> None:
    """A streamed run tells what Claude thinks, says, and writes as arguments, before the reply is whole."""
    agent = desk(model_settings={"reasoning": {"effort": "low"}})
    lab = await claude([agent], [Pause("gate", STEPS[0], after=1), *STEPS[1:]])  # type: ignore[arg-type]  # a Reply
    run = await lab.start(agent, "Clean up.", stream=True)
    told: dict[str, str] = {}
    async with asyncio.timeout(30), aclosing(run.stream()) as items:
        async for item in items:
            if isinstance(item, Delta):
                servers[0].open("gate")
                told[item.kind] = told.get(item.kind, "") + item.text
            elif isinstance(item, RequestOpened):
                break
    assert (told["text"], told["reasoning"]) == ("One moment.", "First the fans.Now the rest.")
    assert told["arguments"] == '{"at": "fans"}{"target": "temp"}'


class Room(BaseModel):
    number: int = Field(ge=1, le=99)
    name: str | None = None


async def test_an_answer_of_a_type_is_asked_for_as_claude_takes_it(
    claude: Claude, servers: list[AnthropicServer]
) -> None:
    """The schema goes along without the keywords that the API does not know; the answer is checked with them."""
    agent = Agent("weather", output_type=Room)
    lab = await claude([agent], [Reply(text('{"number": 100, "name": null}')), Reply(text('{"number": 7}'))])
    assert (await (await lab.start(agent, "Which?")).result()).output == Room(number=7)
    [server] = servers
    assert server.violations == []
    assert server.requests[0].body["output_config"]["format"]["type"] == "json_schema"


async def test_pictures_settings_and_headers_reach_claude(claude: Claude, servers: list[AnthropicServer]) -> None:
    """A picture is part of a tool's result; settings and transport go along in the API's own words."""

    @tool
    async def picture(of: str) -> Image:
        """Take a picture."""
        return Image(url="data:image/png;base64,iVBORw0KGgo=")

    agent = Agent(
        "press",
        tools=[picture],
        model_settings={
            "max_output_tokens": 500,
            "parallel_tool_calls": False,
            "top_k": 5,
            "stop": "END",
            "extra_headers": {"X-Department": "press"},
            "extra_query": {"trace": "1"},
            "timeout": 20,
        },
    )
    lab = await claude([agent], [Reply(call("picture", {"of": "cat"}, "toolu_1")), Reply(text("A cat."))])
    assert (await (await lab.start(agent, "Show me.")).result()).output == "A cat."
    [server] = servers
    assert server.violations == []
    first, second = server.requests
    assert (first.headers["x-department"], first.query) == ("press", {"trace": "1"})
    assert first.body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert (first.body["max_tokens"], first.body["top_k"], first.body["stop_sequences"]) == (500, 5, ["END"])
    [result] = [block for block in second.blocks if block["type"] == "tool_result"]
    assert result["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    ]


async def test_a_refusal_is_a_refusal(claude: Claude) -> None:
    """A reply that stops as refused ends the run as any refusal does."""
    lab = await claude([desk()], [Reply(refusal(""))])
    with pytest.raises(RunFailedError, match="declined") as failed:
        await (await lab.start("desk", "Do harm.")).result()
    assert failed.value.kind == "ModelRefusal"


@HOW
async def test_a_reply_that_was_cut_off_is_incomplete(claude: Claude, streamed: bool) -> None:
    """A reply at its limit of tokens is no answer."""
    lab = await claude([desk()], [Reply(text("Once upon"), status="incomplete")])
    with pytest.raises(RunFailedError, match="max_output_tokens") as failed:
        await (await lab.start("desk", "Tell me.", stream=streamed)).result()
    assert failed.value.kind == "ModelIncomplete"


AGAIN: dict[str, Step] = {
    "429": Fail(429, retry_after=0.1),
    "529": Fail(529, retry_after=0.1),
    "500": Fail(500, retry_after=0.1),
    "overloaded-inside-a-stream": Fail(529, inside="event"),
    "broke-off": Drop(after_bytes=250, then=Reply(text("x" * 500))),
}


@HOW
@pytest.mark.parametrize("how", AGAIN)
async def test_what_passes_is_asked_again(
    claude: Claude, servers: list[AnthropicServer], how: str, streamed: bool
) -> None:
    """Rate limits, overload and broken connections: the same request is sent again, once, by Temporal alone."""
    if AGAIN[how] == AGAIN["overloaded-inside-a-stream"] and not streamed:
        return
    lab = await claude([desk()], [AGAIN[how], Reply(text("fine"))])
    assert (await (await lab.start("desk", "go", stream=streamed)).result()).output == "fine"
    assert len(servers[0].requests) == 2


@pytest.mark.parametrize(
    ("step", "said"),
    [
        pytest.param(Fail(401, "invalid x-api-key"), "or ANTHROPIC_API_KEY", id="401"),
        pytest.param(
            Fail(400, "prompt is too long: 250000 tokens > 200000 maximum"), "prompt is too long", id="length"
        ),
        pytest.param(Fail(404, "model: claude-0"), "model: claude-0", id="no-such-model"),
    ],
)
async def test_what_stays_refused_is_not_asked_again(
    claude: Claude, servers: list[AnthropicServer], step: Step, said: str
) -> None:
    """A key, a model or a length that the provider refuses ends the run at once, in its own words."""
    lab = await claude([desk()], [step])
    with pytest.raises(RunFailedError, match=said) as failed:
        await (await lab.start("desk", "go")).result()
    assert failed.value.kind == "ModelRefused"
    assert len(servers[0].requests) == 1


async def test_a_pause_that_the_provider_asks_for_is_kept() -> None:
    """``retry-after`` of a 429 is the pause before the next try."""
    async with AnthropicServer([Fail(429, retry_after=7)]) as server, entry_at(server.base_url) as entry:
        request = ModelRequest(model=MODEL, instructions="", items=[{"role": "user", "content": "go"}])
        with pytest.raises(ModelCallError) as busy:
            await entry.answer(request)
    assert (busy.value.kind, busy.value.retryable) == ("ModelBusy", True)
    assert busy.value.retry_after is not None
    assert busy.value.retry_after.total_seconds() == 7


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    """A provider that cannot be reached is asked again."""
    request = ModelRequest(model=MODEL, instructions="", items=[{"role": "user", "content": "go"}])
    async with entry_at("http://127.0.0.1:9") as entry:
        with pytest.raises(ModelCallError, match="could not be reached") as away:
            await entry.answer(request)
    assert (away.value.kind, away.value.retryable) == ("ModelUnavailable", True)


MESSAGE: dict[str, Any] = {"type": "message", "id": "msg_1", "role": "assistant", "content": [], "usage": None}
CHUNK: dict[str, Any] = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "hi"}}]}
CHOICE: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
RESPONSE: dict[str, Any] = {"object": "response", "status": "completed", "output": []}
BROKEN: dict[str, tuple[Verbatim, str]] = {
    "html": (Verbatim("<html>nginx</html>", headers={"content-type": "text/html"}), "a web page instead of JSON"),
    "empty": (Verbatim("", events=[]), "is empty: no body came"),
    "half-an-event": (
        Verbatim('{"type": "mess', events=['event: message_start\ndata: {"type": "message_st']),
        "is not JSON",
    ),
    "chat-completion": (
        Verbatim({"object": "chat.completion", "choices": [CHOICE]}, events=[CHUNK, "data: [DONE]"]),
        "none of its provider's API",
    ),
    "responses": (
        Verbatim(RESPONSE, events=[{"type": "response.completed", "response": RESPONSE}]),
        "none of its provider's API",
    ),
    "no-content": (Verbatim(MESSAGE, events=["event: message_start\ndata: 5"]), "none of its provider's API"),
}


@HOW
@pytest.mark.parametrize("how", BROKEN)
async def test_what_is_no_answer_is_asked_for_again(
    claude: Claude, servers: list[AnthropicServer], how: str, streamed: bool
) -> None:
    """A web page, an empty body, half an event, another API: the next answer counts, nothing is executed twice."""
    effects: Effects = []
    agent = shredder(effects)
    steps: list[Step] = [Reply(call("shred", {"page": "7"}, "toolu_1")), BROKEN[how][0], Reply(text("fine"))]
    lab = await claude([agent], steps)
    run = await lab.start(agent, "go", stream=streamed)
    await run.approve(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).output == "fine"
    assert (len(servers[0].requests), effects) == (3, ["7"])
    assert await failed_tasks(lab, run) == 0


@HOW
@pytest.mark.parametrize("how", BROKEN)
async def test_what_is_no_answer_is_named_in_one_sentence(how: str, streamed: bool) -> None:
    """The failure says what came, and where to look; it is asked for three times, and not for an hour."""
    step, said = BROKEN[how]
    async with AnthropicServer([step]) as server, entry_at(server.base_url) as entry:
        failed = await failure_of(entry, streamed)
    assert (failed.kind, failed.retryable) == ("ModelReplyInvalid", True)
    assert streamed or said in failed.message
    assert "\n" not in failed.message


@HOW
@pytest.mark.parametrize("how", [name for name in BROKEN if name != "chat-completion"])
async def test_what_is_no_completion_is_named_in_one_sentence(how: str, streamed: bool) -> None:
    """Likewise of a provider that is asked by Chat Completions."""
    async with ResponsesServer([BROKEN[how][0]]) as server, entry_at(server.base_url, "openai:gpt-5") as entry:
        failed = await failure_of(entry, streamed)
    assert (failed.kind, failed.retryable) == ("ModelReplyInvalid", True)
    assert "\n" not in failed.message


async def failure_of(entry: AnyLLMModel, streamed: bool) -> ModelCallError:
    """The failure of one request."""
    asked: list[dict[str, Any]] = [{"role": "user", "content": "go"}]
    on_delta = (lambda _: None) if streamed else None
    with pytest.raises(ModelCallError) as failed:
        await entry.answer(ModelRequest(model=MODEL, instructions="", items=asked, on_delta=on_delta))
    return failed.value


@HOW
async def test_a_tool_that_was_not_offered_is_told_to_claude(
    claude: Claude, servers: list[AnthropicServer], streamed: bool
) -> None:
    """Claude reads that there is no such tool, the call beside it runs once, and the run goes on."""
    effects: Effects = []
    agent = shredder(effects)
    asked = Reply(call("format_disk", {}, "toolu_1"), call("shred", {"page": "7"}, "toolu_2"))
    lab = await claude([agent], [asked, Reply(text("Sorry."))])
    run = await lab.start(agent, "go", stream=streamed)
    await run.approve(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).output == "Sorry."
    [wrong, right] = [block for block in servers[0].requests[1].blocks if block["type"] == "tool_result"]
    assert "format_disk" in wrong["content"][0]["text"]
    assert right["content"] == [{"type": "text", "text": "7 is gone"}]
    assert effects == ["7"]


async def test_a_setting_of_the_wrong_type_ends_the_run_at_once(claude: Claude, servers: list[AnthropicServer]) -> None:
    """What any-llm itself refuses to send is named, and not tried again."""
    lab = await claude([desk(model_settings={"temperature": "warm"})], [])
    with pytest.raises(RunFailedError, match=r"was not asked: temperature") as failed:
        await (await lab.start("desk", "go")).result()
    assert failed.value.kind == "ModelRefused"
    assert servers[0].requests == []


async def test_a_custom_tool_is_refused_in_one_sentence(claude: Claude, servers: list[AnthropicServer]) -> None:
    """What the API has nothing for is named before anything is sent."""

    @custom_tool
    async def note(line: str) -> str:
        """Write a line."""
        return line

    lab = await claude([Agent("press", tools=[note])], [])
    with pytest.raises(RunFailedError, match="has nothing for the custom tool 'note'"):
        await (await lab.start("press", "go")).result()
    assert servers[0].requests == []


def test_a_turn_that_another_model_began_goes_on_without_a_budget() -> None:
    """A model that thinks by a budget takes no turn whose calls it did not think of: it goes on without thinking."""
    items: list[dict[str, Any]] = [
        {"role": "user", "content": "go"},
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "functions.look:0", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "functions.look:0", "output": "fine"},
    ]
    settings = {"reasoning": {"effort": "high"}}
    body = body_of("claude-haiku-4-5", "", items, [], settings)
    assert "thinking" not in body
    assert body_of("claude-haiku-4-5", "", items[:1], [], settings)["thinking"]["type"] == "enabled"
    [called] = [b for m in body["messages"] for b in m["content"] if b["type"] == "tool_use"]
    [result] = [b for m in body["messages"] for b in m["content"] if b["type"] == "tool_result"]
    assert called["id"] == result["tool_use_id"]
    assert called["id"].startswith("call_")


# --- other providers ---


@HOW
async def test_another_provider_is_asked_by_chat_completions(make_lab: MakeLab, streamed: bool) -> None:
    """A server of Chat Completions through any-llm: the same run, and nothing that the server refuses."""
    steps = [
        Reply(text("One moment."), call("look", {"at": "fans"}, "c1"), usage=Usage(100, 20)),
        Reply(call("clean", {"target": "temp"}, "c2"), usage=Usage(150, 10)),
        Reply(text("Both are done."), usage=Usage(200, 10)),
    ]
    async with ResponsesServer(steps) as server, entry_at(server.base_url, "openai:gpt-5") as entry:
        lab = await make_lab([desk()], models={"default": lambda _: entry}, deltas=InProcessDeltas())
        run = await lab.start("desk", "Clean up.", stream=streamed)
        await run.approve(await lab.next_request(run), decided_by="lead")
        result = await run.result()
        await lab.stop_worker()
    assert (result.output, result.usage.total_tokens) == ("Both are done.", 490)
    assert server.violations == []
    assert {(each.model, each.path) for each in server.requests} == {("gpt-5", "/v1/chat/completions")}


@HOW
@pytest.mark.parametrize(
    ("provider", "dialect", "field"),
    [("openrouter", "openrouter", "reasoning_details"), ("deepseek", "openai", "reasoning_content")],
)
async def test_reasoning_goes_back_through_any_llm(provider: str, dialect: str, field: str, streamed: bool) -> None:
    """What a provider wants back of the reasoning behind a call goes back as it came, signatures included."""
    steps = [Reply(reasoning("hm"), call("look", {"at": "fans"}, "c1")), Reply(text("fine"))]
    asked: dict[str, Any] = {"role": "user", "content": "go"}
    async with ResponsesServer(steps, dialect=dialect) as server, entry_at(server.base_url, f"{provider}:m") as entry:
        items: list[dict[str, Any]] = [asked]
        for _ in steps:
            answer = await entry.answer(
                ModelRequest(
                    model="m",
                    instructions="",
                    items=wire_items(items, "default"),
                    tools=[LOOK],
                    on_delta=(lambda _: None) if streamed else None,
                )
            )
            items += [with_own_ids(item, "default") for item in answer.items]
            items += [output_item(item, "on") for item in answer.items if item["type"] == "function_call"]
    assert server.violations == []
    assert field in server.requests[1].body["messages"][1]


async def test_reasoning_that_a_provider_refuses_is_left_out_through_any_llm() -> None:
    """As Groq refuses its own: the same request goes again without it, and later ones begin so."""
    refused = Fail(400, "('messages.1' : property 'reasoning_content' is unsupported)")
    thought = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    items: list[dict[str, Any]] = [{"role": "user", "content": "go"}, thought, {"role": "assistant", "content": "a"}]
    async with (
        ResponsesServer([refused, Reply(text("fine"))], dialect="vllm") as server,
        entry_at(server.base_url, "openai:m") as entry,
    ):
        answer = await entry.answer(ModelRequest(model="m", instructions="", items=items))
    assert answer.left_out == ("messages.reasoning",)
    assert ["reasoning_content" in each.body["messages"][1] for each in server.requests] == [True, False]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        pytest.param("nobody:x", {}, "any-llm knows no provider 'nobody'; it knows", id="unknown-provider"),
        pytest.param("mistral:x", {}, "'mistral' cannot be asked", id="no-package"),
        pytest.param("anthropic:x", {}, "ANTHROPIC_API_KEY", id="no-key"),
        pytest.param("anthropic:x", {"api_key": "k", "colour": 1}, "colour", id="unknown-option"),
    ],
)
def test_an_entry_that_cannot_work_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, Any], said: str
) -> None:
    """A provider, a package or a key that is missing is named where the entry is made, in one line."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(DefinitionError) as refused:
        AnyLLMModel(name, **options)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


CORE = """
import sys
import handfast, handfast.cli.app, handfast.worker.plugin, handfast.workflows.run, handfast.client.client
from handfast import ChatCompletionsModel, ResponsesModel, AnyLLMModel
print([name for name in ("any_llm", "anthropic", "httpx") if name in sys.modules])
"""


def test_the_core_imports_nothing_of_it() -> None:
    """Library, command and worker load neither any-llm nor a provider's package before an entry is made."""
    done = subprocess.run([sys.executable, "-c", CORE], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
