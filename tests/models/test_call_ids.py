"""Every call has an id that the run can carry, and the server gets back its own."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from handfast import Agent, InProcessDeltas, hosted_mcp
from handfast.errors import RunFailedError
from handfast.models.input_items import own_id, wire_items, with_own_ids
from handfast.models.responses import ResponsesModel
from handfast.payloads.deltas import Delta
from handfast.testing import Reply, ResponsesServer, call, mcp_approval, raw, reasoning, text
from handfast.testing.responses.dialects import SIGNATURE
from support.deltas import told
from support.labs import Effects, MakeLab
from support.model_outputs import DONE, desk


def note(line: str, call_id: Any, **more: Any) -> Any:
    """A call as a server may write it."""
    named = {} if call_id is None else {"call_id": call_id}
    return raw({"type": "function_call", "name": "note", "arguments": f'{{"line": "{line}"}}', **named, **more})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(note("a", "c1"), note("b", "c1"), id="one-id-for-both"),
        pytest.param(note("a", None), note("b", None), id="no-ids"),
        pytest.param(note("a", ""), note("b", ""), id="empty-ids"),
        pytest.param(note("a", None, id=None), note("b", 7), id="null-and-a-number"),
        pytest.param(note("a", "fc_1"), note("b", None, id="fc_1"), id="the-item-has-the-id-of-another"),
        pytest.param(note("a", "c 1\n"), note("b", "ü"), id="ids-that-are-no-ids"),
    ],
)
async def test_calls_that_share_an_id_or_have_none_get_their_own(
    make_lab: MakeLab, effects: Effects, first: Any, second: Any, cache: int
) -> None:
    """Both calls run once, and what goes back names each output's call."""
    lab = await make_lab([desk(effects)], script=[Reply(first, second), DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    assert (sorted(effects), lab.model.violations) == (["a", "b"], [])
    assert sorted(lab.model.requests[1].tool_outputs.values()) == ["noted a", "noted b"]


async def test_the_id_of_an_item_stands_in_for_the_id_of_its_call(make_lab: MakeLab, effects: Effects) -> None:
    """A server that has one id for both means that one."""
    lab = await make_lab([desk(effects)], script=[Reply(note("a", None, id="fc_7")), DONE])
    assert (await (await lab.start("desk")).result()).output == "done"
    assert list(lab.model.requests[1].tool_outputs) == ["fc_7"]


async def test_the_same_call_twice_without_an_id_is_asked_for_again(make_lab: MakeLab, effects: Effects) -> None:
    """Nobody can tell whether one was meant or two: nothing of it runs, and the model is asked once more."""
    twice = Reply(note("a", None), note("a", None))
    lab = await make_lab([desk(effects)], script=[twice, Reply(note("a", "c1")), DONE])
    assert (await (await lab.start("desk")).result()).output == "done"
    assert (effects, len(lab.model.requests)) == (["a"], 3)


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param([raw({"type": "mcp_approval_request", "server_label": "s", "name": "n"})], id="no-id"),
        pytest.param([mcp_approval("s", "n", {}, "m1"), mcp_approval("s", "m", {}, "m1")], id="one-id-for-two"),
        pytest.param([mcp_approval("other", "n", {}, "m1")], id="a-server-that-was-not-offered"),
        pytest.param([mcp_approval("s", "n" * 300, {}, "m1")], id="a-name-of-300-characters"),
    ],
)
async def test_a_question_that_cannot_be_answered_is_asked_again(make_lab: MakeLab, asked: list[Any]) -> None:
    """An answer has to name the provider's own request: where none can be named, the model is asked again, three
    times in a row at most."""
    agent = Agent("desk", model="m", tools=[hosted_mcp("s", server_url="https://mcp.example")])
    lab = await make_lab([agent], script=[Reply(*asked), DONE, *[Reply(*asked)] * 3])
    assert (await (await lab.start("desk")).result()).output == "done"
    with pytest.raises(RunFailedError) as failed:
        await (await lab.start("desk")).result()
    assert (failed.value.kind, len(lab.model.requests)) == ("ModelReplyInvalid", 5)


# --- ids that carry signatures ---

GATED = Reply(reasoning("hm"), call("wipe", {"target": "t"}, "w1"), call("note", {"line": "a"}, "n1"))


@pytest.mark.parametrize("stream", [False, True])
async def test_an_id_of_two_kilobytes_goes_back_and_not_through_the_run(
    make_lab: MakeLab, effects: Effects, stream: bool, cache: int
) -> None:
    """A server that carries a signature in each call's id gets it back with the call and with its output, over an
    approval and a restart; requests, events and deltas have a short one."""
    deltas = InProcessDeltas()
    lab = await make_lab(
        [desk(effects)], script=[GATED, DONE], dialect="litellm", deltas=deltas, max_cached_workflows=cache
    )
    run = await lab.start("desk", stream=stream)
    request = await lab.next_request(run)
    assert len(request.call_id or "") <= 64
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert (sorted(effects), lab.model.violations) == (["a", "wipe t"], [])
    sent = lab.model.requests[1].body["input"]
    calls = [item["call_id"] for item in sent if item["type"] == "function_call"]
    outputs = [item["call_id"] for item in sent if item["type"] == "function_call_output"]
    assert all(SIGNATURE in each and len(each) > 2000 for each in calls)
    assert calls == outputs
    assert not [item for item in sent if "provider_ids" in item]
    ids = {call_id async for event in run.events() if (call_id := getattr(event, "call_id", None))}
    assert {len(each) <= 64 for each in ids} == {True}
    if stream:
        pieces = {each.call_id for each in await told(lab, run, deltas) if isinstance(each, Delta)}
        assert request.call_id in pieces


async def test_another_model_entry_gets_ids_of_the_runs_own(make_lab: MakeLab, effects: Effects) -> None:
    """After a handoff to another server, which would refuse such ids, the conversation is valid there too."""
    second = Agent("second", model="m", client="strict")
    first = desk(effects)
    agent = Agent("desk", model="m", instructions="Help.", tools=first.tools, handoffs=[second])
    async with ResponsesServer([Reply(text("taken over"))]) as strict:
        async with openai.AsyncOpenAI(base_url=strict.base_url, api_key="k") as other:
            models: dict[str, Any] = {"strict": lambda _: ResponsesModel(other)}
            script = [Reply(call("note", {"line": "a"}, "n1")), Reply(call("transfer_to_second", {}, "h1"))]
            lab = await make_lab([agent, second], script=script, dialect="litellm", models=models)
            assert (await (await lab.start("desk")).result()).output == "taken over"
        assert strict.violations == []
        assert [len(item["call_id"]) <= 64 for item in strict.requests[0].items if "call_id" in item] == [True] * 4


async def test_a_session_keeps_the_ids(make_lab: MakeLab, effects: Effects) -> None:
    """Later messages of a session send the same ids again."""
    lab = await make_lab(
        [desk(effects)], script=[Reply(call("note", {"line": "a"}, "n1")), DONE, DONE], dialect="litellm"
    )
    session = lab.hf.session(f"talk-{lab.task_queue}", agent="desk")
    await (await session.send("one")).output()
    lab.watch(session)
    await (await session.send("two")).output()
    first, second = (request.body["input"] for request in lab.model.requests[1:])
    assert second[: len(first)] == first
    assert lab.model.violations == []


@pytest.mark.parametrize("history", ["chain", "conversation"])
async def test_a_kept_conversation_holds_what_the_run_has_read(
    make_lab: MakeLab, effects: Effects, history: Any
) -> None:
    """Where the provider keeps the conversation, two calls with one id are mended there too."""
    script = [Reply(note("a", "c1", id="fc_1"), note("b", "c1", id="fc_2")), DONE]
    lab = await make_lab([desk(effects)], script=script)
    run = await lab.start("desk", history=history)
    assert (await run.result()).output == "done"
    assert (sorted(effects), lab.model.violations) == (["a", "b"], [])
    assert sorted(lab.model.created[1].tool_outputs.values()) == ["noted a", "noted b"]


def test_ids_inside_follow_from_the_servers() -> None:
    """One id inside for one of the server's, whoever reads it; a good one stays as it is."""
    assert own_id("call_1") == "call_1"
    assert own_id("x" * 64) == "x" * 64
    assert own_id("x" * 65) == own_id("x" * 65) != own_id("x" * 66)
    long = {"type": "function_call", "id": "fc_" + "y" * 900, "call_id": "x" * 900, "name": "n", "arguments": "{}"}
    inside = with_own_ids(long, "lite")
    assert len(inside["call_id"]) <= 64
    assert "id" not in inside
    assert wire_items([inside], "lite") == [long]
    [elsewhere] = wire_items([inside], "default")
    assert elsewhere == {"type": "function_call", "call_id": inside["call_id"], "name": "n", "arguments": "{}"}


def test_a_message_of_a_server_with_long_ids_has_none_elsewhere() -> None:
    """An item's own id goes back only to the server that made it, where it is longer than the API takes."""
    message = {"type": "message", "id": "m" * 900, "role": "assistant", "content": []}
    inside = with_own_ids(message, "lite")
    assert wire_items([inside], "lite") == [message]
    assert wire_items([inside], "default") == [{"type": "message", "role": "assistant", "content": []}]
