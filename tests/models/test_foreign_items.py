"""Items that another API has made are sent to a Responses server as it takes them."""

from __future__ import annotations

from typing import Any

import pytest

from handfast import Agent, Compact, ModelAnswer, ModelRequest, Usage
from handfast.payloads.events import ModelReplied
from handfast.testing import Compacted, Reply, call, reasoning, text
from handfast.testing.script import Usage as Used
from support.labs import Effects, MakeLab
from support.model_outputs import desk

DONE = Reply(text("done"))
THOUGHT: dict[str, Any] = {
    "type": "reasoning",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "The user wants it noted."}],
}
SIGNED: dict[str, Any] = {"provider_fields": {"extra_content": {"google": {"thought_signature": "sig" * 50}}}}


class ChatLike:
    """A model of another API: its reasoning is a text alone, and its calls carry what is meant for itself."""

    def __init__(self, *replies: list[dict[str, Any]]) -> None:
        self.asked: list[ModelRequest] = []
        self._replies = iter(replies)

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Play the next reply."""
        self.asked.append(request)
        return ModelAnswer(items=next(self._replies), usage=Usage(requests=1))


def calls(name: str, arguments: str, call_id: str) -> list[dict[str, Any]]:
    """A reply of the other API."""
    made = {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, **SIGNED}
    return [THOUGHT, made]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_conversation_of_another_api_goes_on_here(make_lab: MakeLab, effects: Effects, stream: bool) -> None:
    """After a handoff the Responses server gets the calls and not the reasoning that only the other API can read;
    the other API gets its own back whole; nothing is refused."""
    port = ChatLike(calls("note", '{"line": "a"}', "c1"), calls("transfer_to_desk", "{}", "c2"))
    agent = desk(effects)
    front = Agent("front", model="gemini", client="chat", tools=agent.tools, handoffs=["desk"])
    lab = await make_lab([front, agent], script=[DONE], models={"chat": lambda client: port})
    run = await lab.start("front", stream=stream)
    assert (await run.result()).output == "done"
    again = port.asked[1].items
    assert [item.get("type") for item in again[1:]] == ["reasoning", "function_call", "function_call_output"]
    assert (again[1]["content"], again[2]["provider_fields"]) == (THOUGHT["content"], SIGNED["provider_fields"])
    [request] = lab.model.requests
    kinds = [item.get("type") for item in request.body["input"][1:]]
    assert kinds == ["function_call", "function_call_output"] * 2
    assert "provider_fields" not in str(request.body)
    replies = [event async for event in run.events() if isinstance(event, ModelReplied)]
    assert (replies[-1].left_out, lab.model.violations) == ([], [])


async def test_its_own_reasoning_stays(make_lab: MakeLab, effects: Effects) -> None:
    """What the Responses server has made goes back beside what it cannot read."""
    given = [{"role": "user", "content": "go"}, *calls("note", '{"line": "z"}', "c0")]
    given.append({"type": "function_call_output", "call_id": "c0", "output": "noted z"})
    script = [Reply(reasoning("own"), call("note", {"line": "a"})), DONE]
    lab = await make_lab([desk(effects)], script=script)
    assert (await lab.watch(await lab.hf.start("desk", given)).result()).output == "done"
    kinds = [[item.get("type") for item in request.body["input"][1:]] for request in lab.model.requests]
    assert kinds[0] == ["function_call", "function_call_output"]
    assert kinds[1] == [*kinds[0], "reasoning", "function_call", "function_call_output"]
    assert lab.model.violations == []


async def test_it_is_compacted_by_the_server(make_lab: MakeLab, effects: Effects) -> None:
    """The request to compact is as valid."""
    given = [{"role": "user", "content": "go"}, *calls("note", '{"line": "z"}', "c0")]
    given.append({"type": "function_call_output", "call_id": "c0", "output": "noted z"})
    agent = Agent("desk", model="m", tools=desk(effects).tools, compaction=Compact(at_tokens=1000, keep_turns=0))
    script = [Reply(call("note", {"line": "b"}), usage=Used(5000, 10)), Compacted(), DONE]
    lab = await make_lab([agent], script=script)
    assert (await lab.watch(await lab.hf.start("desk", given)).result()).output == "done"
    assert [request.path.removeprefix("/v1/") for request in lab.model.requests][1] == "responses/compact"
    assert lab.model.violations == []
