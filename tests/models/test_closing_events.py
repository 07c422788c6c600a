"""A stream whose closing event does not say again what came is the reply that came."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from handfast import Agent, InProcessDeltas
from handfast.models.port import ModelAnswer, ModelDelta, ModelRequest
from handfast.models.responses import ResponsesModel
from handfast.testing import ResponsesServer, Verbatim
from support.labs import Effects, MakeLab
from support.model_outputs import desk

TEXT = {"type": "output_text", "text": "All is well.", "annotations": []}
MESSAGE = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [TEXT]}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "note", "arguments": '{"line": "a"}'}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]}
BEGUN = {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": []}}


def done(*items: dict[str, Any]) -> list[dict[str, Any]]:
    """The events in which items come whole."""
    return [
        {"type": "response.output_item.done", "output_index": place, "item": item} for place, item in enumerate(items)
    ]


def closing(**response: Any) -> dict[str, Any]:
    """The last event."""
    return {"type": "response.completed", "response": {"id": "resp_1", "status": "completed", **response}}


def delta(kind: str, piece: str, place: int | None = 0, **more: Any) -> dict[str, Any]:
    """A piece of an item."""
    at = {} if place is None else {"output_index": place}
    return {"type": f"response.{kind}.delta", **at, "delta": piece, **more}


async def answer(*events: dict[str, Any] | str) -> tuple[ModelAnswer, list[ModelDelta]]:
    """What a model answers whose stream is made of *events*."""
    deltas: list[ModelDelta] = []
    request = ModelRequest(
        model="m", instructions="", items=[{"role": "user", "content": "go"}], on_delta=deltas.append
    )
    async with (
        ResponsesServer([Verbatim(events=list(events))]) as server,
        openai.AsyncOpenAI(base_url=server.base_url, api_key="test") as client,
    ):
        return await ResponsesModel(client).answer(request), deltas


CLOSINGS: dict[str, dict[str, Any]] = {"empty": {"output": []}, "null": {"output": None}, "none": {}}


@pytest.mark.parametrize("how", CLOSINGS)
async def test_the_items_that_came_are_the_reply(how: str) -> None:
    """A closing event whose output is empty, null or missing takes nothing back."""
    reply, _ = await answer(BEGUN, *done(THOUGHT, CALL, MESSAGE), closing(**CLOSINGS[how]))
    assert reply.items == [THOUGHT, CALL, MESSAGE]


@pytest.mark.parametrize("how", CLOSINGS)
async def test_a_run_goes_on_with_what_its_streams_have_said(make_lab: MakeLab, effects: Effects, how: str) -> None:
    """Calls of such a stream run and its text is the output, after one request each."""
    script = [
        Verbatim(events=[BEGUN, *done(CALL), closing(**CLOSINGS[how])]),
        Verbatim(events=[BEGUN, *done(MESSAGE), closing(**CLOSINGS[how])]),
    ]
    lab = await make_lab([desk(effects)], script=script, deltas=InProcessDeltas())
    run = await lab.start("desk", stream=True)
    assert (await run.result()).output == "All is well."
    assert (effects, len(lab.model.requests), lab.model.violations) == (["a"], 2, [])


async def test_a_closing_event_without_a_response_is_one_too() -> None:
    """Nothing is known of its usage, and all of its items."""
    reply, _ = await answer(*done(MESSAGE), {"type": "response.completed"})
    assert (reply.items, reply.usage.requests, reply.usage.total_tokens) == ([MESSAGE], 1, 0)


@pytest.mark.parametrize(
    "output",
    [
        pytest.param([MESSAGE], id="an-item-is-missing"),
        pytest.param([THOUGHT, CALL, {**MESSAGE, "content": []}], id="the-text-is-missing"),
        pytest.param([THOUGHT, {**CALL, "arguments": ""}, MESSAGE], id="the-arguments-are-missing"),
    ],
)
async def test_a_closing_event_that_says_less_takes_nothing_back(output: list[object]) -> None:
    """An output that is shorter than what came is no better than an empty one."""
    reply, _ = await answer(*done(THOUGHT, CALL, MESSAGE), closing(output=output))
    assert reply.items == [THOUGHT, CALL, MESSAGE]


async def test_a_closing_event_that_says_it_all_counts() -> None:
    """The closing event is what the API promises: it wins where nothing is missing in it."""
    final = {**MESSAGE, "content": [{**TEXT, "text": "All is well, indeed."}]}
    reply, _ = await answer(*done(MESSAGE), closing(output=[final]))
    assert reply.items == [final]


async def test_items_are_put_together_from_their_pieces() -> None:
    """Where no event brings an item whole, its pieces do, and whoever watches has had them."""
    reply, deltas = await answer(
        {"type": "response.output_item.added", "output_index": 0, "item": {**MESSAGE, "content": []}},
        delta("output_text", "All is "),
        delta("output_text", "well."),
        {"type": "response.output_item.added", "output_index": 1, "item": {**CALL, "arguments": ""}},
        delta("function_call_arguments", '{"line": ', 1),
        delta("function_call_arguments", '"a"}', 1),
        closing(output=[]),
    )
    [message, call] = reply.items
    assert message["content"] == [{"type": "output_text", "text": "All is well."}]
    assert (call["call_id"], call["arguments"]) == ("c1", '{"line": "a"}')
    assert [(each.kind, each.text, each.call_id) for each in deltas][-1] == ("arguments", '"a"}', "c1")


async def test_events_without_a_position_are_told_apart_by_their_item() -> None:
    """A server that leaves out `output_index` still says which item it means, or that there is a new one."""
    reply, deltas = await answer(
        {"type": "response.output_item.added", "item": {**MESSAGE, "content": []}},
        delta("output_text", "All is well.", None, item_id="msg_1"),
        {"type": "response.output_item.done", "item": MESSAGE},
        {"type": "response.output_item.done", "item": CALL},
        closing(output=[]),
    )
    assert reply.items == [MESSAGE, CALL]
    assert [(each.item, each.text) for each in deltas] == [(0, "All is well.")]


async def test_a_text_that_is_said_whole_counts_more_than_its_pieces() -> None:
    """A lost or repeated piece does not spoil the text that an event brings whole."""
    reply, _ = await answer(
        delta("output_text", "All i"),
        {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "All is well."},
        closing(),
    )
    assert reply.items[0]["content"] == [{"type": "output_text", "text": "All is well."}]


async def test_reasoning_that_never_ended_is_left_out() -> None:
    """Reasoning in pieces is of no use to anybody: it could not be sent back."""
    begun = {"type": "response.output_item.added", "output_index": 0, "item": {**THOUGHT, "summary": []}}
    reply, _ = await answer(begun, delta("reasoning_summary_text", "hm"), delta("output_text", "Fine.", 1), closing())
    assert [item["type"] for item in reply.items] == ["message"]


async def test_the_type_of_an_event_may_stand_beside_its_data() -> None:
    """Some servers name an event in its ``event:`` line alone."""
    reply, _ = await answer(
        'event: response.output_item.done\ndata: {"output_index": 0, "item": {"type": "message", "content": "Fine."}}',
        'event: response.completed\ndata: {"response": {"id": "resp_1"}}',
    )
    assert [item["type"] for item in reply.items] == ["message"]


async def test_a_followed_background_response_counts_what_came(make_lab: MakeLab) -> None:
    """What the stream of a background response has told is its reply, and nothing is looked up."""

    agent = Agent("thinker", model="m", background=True)
    script = [Verbatim(events=[BEGUN, *done(MESSAGE), closing(output=[])])]
    lab = await make_lab([agent], script=script, deltas=InProcessDeltas())
    run = await lab.start("thinker", stream=True)
    assert (await run.result()).output == "All is well."
    assert len(lab.model.requests) == 1
