"""The agent of twelve lines on every server of either OpenAI API, and on Claude: one and the same run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import openai
import pytest

from handfast import AnyLLMModel, ChatCompletionsModel, InProcessDeltas
from handfast.models.port import ModelPort
from handfast.testing import Lab, Reply, call, reasoning, text
from handfast.testing.chat.dialects import CHAT_DIALECTS
from handfast.testing.responses.dialects import DIALECTS
from handfast.testing.script import Usage
from support.anthropic_server import AnthropicServer
from support.events import to_the_end, types
from support.evidence import failed_tasks
from support.labs import MakeLab
from support.twelve_lines import desk

STEPS = [
    Reply(reasoning("fans first"), text("One moment."), call("look", {"at": "fans"}, "c1"), usage=Usage(100, 20)),
    Reply(reasoning("now the rest"), call("clean", {"target": "temp"}, "c2"), usage=Usage(150, 10)),
    Reply(text("Both are done."), usage=Usage(200, 10)),
]
EVENTS = [
    *("run_started", "turn_started", "model_reply", "tool_called", "tool_output", "turn_started", "model_reply"),
    *("request_opened", "status", "request_decided", "status", "tool_called", "tool_output"),
    *("turn_started", "model_reply", "run_finished"),
]
HOW = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
ENTRIES: Mapping[str, Callable[[openai.AsyncOpenAI], ModelPort]] = {
    **dict.fromkeys(CHAT_DIALECTS, ChatCompletionsModel),
    "ollama": lambda client: ChatCompletionsModel(client, max_tokens="max_tokens"),
}
"""How each server is asked by Chat Completions; what it wants otherwise is said in docs/models.md."""
SERVERS = [
    *(pytest.param(name, {}, "/v1/responses", id=f"responses-{name}") for name in DIALECTS),
    *(
        pytest.param(name, {"default": entry}, "/v1/chat/completions", id=f"chat-{name}")
        for name, entry in ENTRIES.items()
    ),
]


@HOW
@pytest.mark.parametrize(("name", "models", "path"), SERVERS)
async def test_it_runs_on_every_server(
    make_lab: MakeLab,
    name: str,
    models: dict[str, Callable[[openai.AsyncOpenAI], ModelPort]],
    path: str,
    streamed: bool,
) -> None:
    """Approval, effects, usage and events are the same, whatever the server; it is sent nothing that it refuses."""
    lab = await make_lab([desk], script=STEPS, dialect=name, models=models, deltas=InProcessDeltas())
    await assert_it_runs(lab, streamed)
    assert lab.model.violations == []
    assert [each.path for each in lab.model.requests] == [path] * 3


@HOW
async def test_it_runs_on_claude(make_lab: MakeLab, streamed: bool) -> None:
    """By any-llm and Anthropic's own API the run is the same: Claude gets back what it thought, as it signed it."""
    async with AnthropicServer(STEPS) as server, claude_at(server.base_url) as entry:
        lab = await make_lab([desk], models={"default": lambda _: entry}, deltas=InProcessDeltas())
        await assert_it_runs(lab, streamed)
        await lab.stop_worker()
    assert server.violations == []
    assert len(server.requests) == 3


async def assert_it_runs(lab: Lab, streamed: bool) -> None:
    """Run the agent to its end, and compare everything that a user sees of it."""
    run = await lab.start(desk, "Clean up.", stream=streamed)
    request = await lab.next_request(run)
    assert (request.tool, request.arguments) == ("clean", {"target": "temp"})
    await run.approve(request, decided_by="lead")
    result = await run.result()
    assert result.output == "Both are done."
    usage = result.usage
    assert (usage.requests, usage.input_tokens, usage.output_tokens, usage.total_tokens) == (3, 450, 40, 490)
    assert types(await to_the_end(run)) == EVENTS
    assert await failed_tasks(lab, run) == 0


@asynccontextmanager
async def claude_at(base_url: str) -> AsyncIterator[AnyLLMModel]:
    """A model entry whose connections are closed at the end."""
    entry = AnyLLMModel("anthropic:claude-sonnet-5", api_key="test", api_base=base_url)
    try:
        yield entry
    finally:
        await entry.close()
