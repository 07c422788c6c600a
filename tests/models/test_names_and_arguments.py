"""Whatever a model calls, what goes back to it is a valid request, and it reads what was wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from handfast import InProcessDeltas
from handfast.models.input_items import MALFORMED, wire_items
from handfast.payloads.events import ToolNotRun
from handfast.testing import Reply, call, custom_call
from handfast.testing.responses.items import check_item
from support.labs import Effects, MakeLab
from support.model_outputs import DONE, desk

USES = {"tool_uses": [{"recipient_name": "functions.note", "parameters": {"line": "a"}}]}
NAMES = {
    "parallel": "multi_tool_use.parallel",
    "dot": "functions.note",
    "empty": "",
    "129": "n" * 129,
    "blank": "note ",
    "emoji": "nöte🛠",
    "a-megabyte": "n" * 1_000_000,
}


@pytest.mark.parametrize("history", [None, "chain", "conversation"])
@pytest.mark.parametrize("name", NAMES)
async def test_a_name_that_the_api_would_refuse_is_told_to_the_model(
    make_lab: MakeLab, effects: Effects, name: str, history: Any
) -> None:
    """The model reads that there is no such tool, and the request in which it does is valid; events say the name as
    the model wrote it."""
    lab = await make_lab([desk(effects)], script=[Reply(call(NAMES[name], USES, "c1")), DONE])
    run = await lab.start("desk", history=history)
    assert (await run.result()).output == "done"
    assert (effects, lab.model.violations) == ([], [])
    assert "there is no tool" in lab.model.created[1].tool_outputs["c1"]
    [sent] = [item for item in lab.model.created[1].items if item.get("type") == "function_call"]
    assert 0 < len(sent["name"]) <= 64
    [event] = [event async for event in run.events() if isinstance(event, ToolNotRun)]
    assert event.tool == NAMES[name][:256]


@pytest.mark.parametrize(
    ("written", "goes_back"),
    [
        pytest.param('{"line": ', {MALFORMED: '{"line": '}, id="cut-off"),
        pytest.param("note a", {MALFORMED: "note a"}, id="no-JSON"),
        pytest.param("[1]", {MALFORMED: "[1]"}, id="a-list"),
        pytest.param('{"line": NaN}', {MALFORMED: '{"line": NaN}'}, id="NaN"),
        pytest.param("null", {}, id="null"),
        pytest.param("", {}, id="nothing"),
        pytest.param('{"line": "a"}{"line": "b"}', {MALFORMED: '{"line": "a"}{"line": "b"}'}, id="two-objects"),
    ],
)
@pytest.mark.parametrize("dialect", ["openai", "ollama", "vllm"])
async def test_arguments_that_cannot_be_parsed_go_back_so_that_they_can(
    make_lab: MakeLab, effects: Effects, written: str, goes_back: dict[str, Any], dialect: str
) -> None:
    """Servers that decode the arguments of every call get an object, which shows what the model wrote; the run
    keeps the text itself."""
    lab = await make_lab([desk(effects)], script=[Reply(call("note", written, "c1")), DONE], dialect=dialect)
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    assert (effects, lab.model.violations) == ([], [])
    [sent] = [item for item in lab.model.requests[1].items if item.get("type") == "function_call"]
    assert json.loads(sent["arguments"]) == goes_back
    [kept] = [item for item in await run.transcript() if item.get("type") == "function_call"]
    assert kept["arguments"] == (written or "{}")


async def test_a_custom_call_of_any_name_is_told_so(make_lab: MakeLab, effects: Effects) -> None:
    """Free text for a tool that is none is asked for again where no tool takes free text."""
    lab = await make_lab([desk(effects)], script=[Reply(custom_call("apply.patch", "x")), DONE])
    assert (await (await lab.start("desk")).result()).output == "done"
    assert (len(lab.model.requests), lab.model.violations) == (2, [])


async def test_streams_of_such_calls_are_told_as_they_come(make_lab: MakeLab, effects: Effects) -> None:
    """A stream with a name that is none is a stream."""
    script = [Reply(call("multi_tool_use.parallel", USES, "c1")), DONE]
    lab = await make_lab([desk(effects)], script=script, deltas=InProcessDeltas())
    assert (await (await lab.start("desk", stream=True)).result()).output == "done"
    assert lab.model.violations == []


@given(name=st.text(max_size=300), arguments=st.one_of(st.text(max_size=50), st.none(), st.just('{"a": 1}')))
def test_whatever_a_model_calls_is_a_valid_item(name: str, arguments: str | None) -> None:
    """Any name and any arguments make an item that the strict model takes, with arguments that can be decoded."""
    item: dict[str, Any] = {"type": "function_call", "call_id": "c1", "name": name, "arguments": arguments}
    [sent] = wire_items([item], "default")
    check_item(sent, "input[0]")
    assert isinstance(json.loads(sent["arguments"]), dict)
    assert wire_items([sent], "default") == [sent]


def test_what_is_valid_goes_back_as_it_came() -> None:
    """A call that is in order is sent byte for byte."""
    item = {
        "type": "function_call",
        "call_id": "c1",
        "name": "note",
        "arguments": '{ "line":"a" }',
        "status": "completed",
    }
    assert wire_items([item], "default") == [item]
