"""What servers write in other words is read as what it means, or asked for again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from handfast import Agent, Compact, tool
from handfast.errors import RunFailedError
from handfast.models.output_items import ItemUnreadableError, read_items
from handfast.models.port import ModelAnswer, ModelRequest
from handfast.models.reading import read_response
from handfast.payloads.usage import Usage as Spent
from handfast.testing import Reply, Verbatim, call, raw
from handfast.testing.script import Usage
from support.labs import Effects, MakeLab
from support.model_outputs import DONE, desk

NOTE = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "note", "arguments": '{"line": "a"}'}


def message(content: object, **more: object) -> dict[str, Any]:
    """A message of the model's."""
    return {"type": "message", "id": "msg_1", "role": "assistant", "content": content, **more}


def part(text: object, **more: object) -> dict[str, object]:
    """A text of a message."""
    return {"type": "output_text", "text": text, **more}


FINE = ("output_text", "Fine.")
MESSAGES: Mapping[str, dict[str, Any]] = {
    "content-is-a-text": message("Fine."),
    "content-is-a-part": message(part("Fine.")),
    "part-is-a-text": message(["Fine."]),
    "part-of-type-text": message([{"type": "text", "text": "Fine."}]),
    "part-of-type-input_text": message([{"type": "input_text", "text": "Fine."}]),
    "part-without-a-type": message([{"text": "Fine."}]),
    "text-is-an-object": message([part({"value": "Fine.", "annotations": []})]),
    "null-part": message([None, part("Fine.")]),
    "null-text-beside": message([part(None), part("Fine.")]),
    "null-annotations": message([part("Fine.", annotations=None, logprobs=None)]),
    "null-fields": message([part("Fine.")], status=None, phase=None, id=None),
    "unknown-state": message([part("Fine.")], status="finished"),
    "no-role": {"type": "message", "content": "Fine."},
    "null-role": message("Fine.", role=None),
    "no-type": {"role": "assistant", "content": "Fine."},
    "null-type": {"type": None, "role": "assistant", "content": "Fine."},
    "text-as-an-item": {"type": "output_text", "text": "Fine."},
}


@pytest.mark.parametrize("name", MESSAGES)
async def test_a_message_is_read_as_what_it_means(make_lab: MakeLab, effects: Effects, name: str) -> None:
    """Its text is the output, and what goes back in the next turn is what the API takes."""
    script = [Reply(raw(MESSAGES[name]), raw(NOTE)), Reply(raw(MESSAGES[name]))]
    lab = await make_lab([desk(effects)], script=script)
    run = await lab.start("desk")
    assert (await run.result()).output == "Fine."
    assert (effects, len(lab.model.requests), lab.model.violations) == (["a"], 2, [])


@pytest.mark.parametrize(
    ("call", "ran"),
    [
        pytest.param({**NOTE, "arguments": {"line": "a"}}, ["a"], id="arguments-as-an-object"),
        pytest.param({**NOTE, "arguments": None}, [], id="null-arguments"),
        pytest.param({name: value for name, value in NOTE.items() if name != "arguments"}, [], id="no-arguments"),
        pytest.param({**NOTE, "arguments": "  "}, [], id="blank-arguments"),
        pytest.param({**NOTE, "arguments": ["a"]}, [], id="arguments-as-a-list"),
        pytest.param({**NOTE, "status": None, "caller": None, "namespace": None}, ["a"], id="null-fields"),
        pytest.param({**NOTE, "type": None}, ["a"], id="null-type"),
    ],
)
async def test_a_call_is_read_as_what_it_means(
    make_lab: MakeLab, effects: Effects, call: dict[str, Any], ran: list[str]
) -> None:
    """Arguments that are decoded run, and where something is missing the model reads which, in a valid request."""
    lab = await make_lab([desk(effects)], script=[Reply(raw(call)), DONE])
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    assert (effects, len(lab.model.requests), lab.model.violations) == (ran, 2, [])
    [output] = lab.model.requests[1].tool_outputs.values()
    assert ("noted a" in output) is bool(ran)


@pytest.mark.parametrize(
    "thought",
    [
        pytest.param({"summary": None, "content": None, "status": None}, id="null"),
        pytest.param({}, id="missing"),
        pytest.param({"summary": "hm"}, id="summary-is-a-text"),
        pytest.param({"summary": [{"type": "summary_text", "text": None}]}, id="null-text"),
        pytest.param({"summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}, id="open-reasoning"),
    ],
)
async def test_reasoning_of_any_spelling_goes_back(
    make_lab: MakeLab, effects: Effects, thought: dict[str, Any]
) -> None:
    """Reasoning is sent back as the API takes it, with the call that it led to."""
    reasoned = {"type": "reasoning", "id": "rs_1", "encrypted_content": "x", **thought}
    lab = await make_lab([desk(effects)], script=[Reply(raw(reasoned), raw(NOTE)), DONE])
    assert (await (await lab.start("desk")).result()).output == "done"
    assert lab.model.violations == []
    assert [item.get("type") for item in lab.model.requests[1].body["input"][1:]] == [
        *("reasoning", "function_call", "function_call_output")
    ]


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(5, id="a-number"),
        pytest.param({"x": 1}, id="nothing-known"),
        pytest.param(message(5), id="content-is-a-number"),
        pytest.param(message([[]]), id="part-is-a-list"),
        pytest.param(message([part([1])]), id="text-is-a-list"),
        pytest.param(message([part(True)]), id="text-is-true"),
        pytest.param(message([{"x": 1}]), id="part-of-nothing-known"),
    ],
)
async def test_what_cannot_be_read_is_asked_for_again(make_lab: MakeLab, effects: Effects, item: Any) -> None:
    """Where nobody can tell what is meant, the same request is made again: three times in a row at most."""
    broken = Verbatim({"id": "resp_1", "status": "completed", "output": [item]})
    lab = await make_lab([desk(effects)], script=[broken, DONE, *[broken] * 3])
    assert (await (await lab.start("desk")).result()).output == "done"
    with pytest.raises(RunFailedError) as failed:
        await (await lab.start("desk")).result()
    assert (failed.value.kind, len(lab.model.requests)) == ("ModelReplyInvalid", 5)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"output": message("Fine.")}, id="output-is-an-item"),
        pytest.param({"output": "Fine."}, id="output-is-a-text"),
        pytest.param({"output": [], "output_text": "Fine."}, id="text-beside-an-empty-output"),
        pytest.param({"output": [None, message("Fine.")]}, id="null-item"),
    ],
)
def test_an_output_is_read_as_what_it_means(body: dict[str, Any]) -> None:
    """A reply that holds its text elsewhere is one too."""
    [read] = read_response({"id": "resp_1", "status": "completed", **body}).items
    [content] = read["content"]
    assert (read["type"], read["role"], content["type"], content["text"]) == ("message", "assistant", *FINE)


def test_items_of_unknown_types_are_kept_verbatim() -> None:
    """What a newer API sends goes back as it came, whatever it holds."""
    unknown = {"type": "hologram", "id": None, "status": "odd", "content": [{"text": None}], "x": {"y": [None]}}
    assert read_items([unknown, {**unknown, "type": "web_search_call"}]) == [
        unknown,
        {**unknown, "type": "web_search_call"},
    ]


def test_what_has_been_read_stays_as_it_is() -> None:
    """Reading twice is reading once."""
    once = read_items([*MESSAGES.values(), {**NOTE, "arguments": {"line": "a"}}, {"type": "reasoning", "summary": "x"}])
    assert read_items(once) == once


def test_what_is_no_item_is_said() -> None:
    """The failure says what was wrong."""
    with pytest.raises(ItemUnreadableError, match="without a type"):
        read_items([{"x": 1}])


async def test_a_port_of_the_users_own_is_read_alike(make_lab: MakeLab) -> None:
    """A port that hands on what its server said is understood as a server is."""

    class Port:
        async def answer(self, request: ModelRequest) -> ModelAnswer:
            return ModelAnswer(items=[{"role": "assistant", "content": "Fine."}], usage=Spent(requests=1))

    agent = Agent("desk", model="m", client="own")
    lab = await make_lab([agent], models={"own": lambda client: Port()})
    assert (await (await lab.start("desk")).result()).output == "Fine."


async def test_a_summary_of_another_spelling_stands_in_for_the_conversation(make_lab: MakeLab) -> None:
    """The answer of an agent that sums up is read as any other."""

    @tool(effect="read_only")
    async def look() -> str:
        """Look."""
        return "nothing"

    writer = Agent("writer", model="m")
    agent = Agent("desk", model="m", tools=[look], compaction=Compact(at_tokens=1000, by=writer, keep_turns=0))
    script = [
        Reply(call("look")),
        Reply(call("look"), usage=Usage(5000, 10)),
        Reply(raw({"role": "assistant", "content": "It was short."})),
        DONE,
    ]
    lab = await make_lab([agent, writer], script=script)
    assert (await (await lab.start("desk")).result()).output == "done"
    assert "It was short." in lab.model.requests[3].text
