"""Scenario rows F6 and F7: the model is sent the end of a long conversation, and nothing in it is torn apart."""

from __future__ import annotations

from typing import Any

from handfast import Agent, HandoffHistory, RunContext, Truncate, handoff, tool
from handfast.testing import Lab, Reply, call, reasoning, text
from support.labs import MakeLab

DONE = Reply(text("done"))


@tool(effect="read_only")
async def look(place: str) -> str:
    """Look somewhere."""
    return f"nothing in {place}"


def sent(lab: Lab, number: int) -> list[dict[str, Any]]:
    """The items of one model request."""
    items: list[dict[str, Any]] = lab.model.requests[number - 1].body["input"]
    return items


def kinds(items: list[dict[str, Any]]) -> list[str]:
    """What they are, with the id of calls and outputs."""
    return [item.get("call_id", item["type"]) for item in items]


async def test_the_start_is_left_out_without_orphans(make_lab: MakeLab, cache: int) -> None:
    """F6: with four items to be kept, each request carries whole turns only, parallel calls with all their outputs;
    the run's transcript keeps everything, after a restart too."""
    agent = Agent("desk", model="m", tools=[look], truncation=Truncate(keep_items=4))
    lab = await make_lab(
        [agent],
        script=[
            Reply(call("look", {"place": "a"}, "c1")),
            Reply(call("look", {"place": "b"}, "c2"), call("look", {"place": "c"}, "c3")),
            Reply(reasoning("hm"), call("look", {"place": "d"}, "c4")),
            Reply(call("look", {"place": "e"}, "c5")),
            DONE,
        ],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk", "search")
    assert (await run.result()).output == "done"
    assert [kinds(sent(lab, number)) for number in range(1, 6)] == [
        ["message"],
        ["message", "c1", "c1"],
        ["c2", "c3", "c2", "c3"],
        ["reasoning", "c4", "c4"],
        ["c5", "c5"],
    ]
    await lab.replace_worker()
    whole = await lab.client.get_workflow_handle(run.id).query("transcript", {"whole": True})
    items = [item for block in whole["blocks"] for item in block["items"]]
    assert kinds(items) == [
        *("message", "c1", "c1", "c2", "c3", "c2", "c3"),
        *("reasoning", "c4", "c4", "c5", "c5", "message"),
    ]
    left = await lab.client.get_workflow_handle(run.id).query("transcript", {})
    assert kinds([item for block in left["blocks"] for item in block["items"]]) == ["c5", "c5", "message"]
    assert lab.model.violations == []


async def test_outputs_that_were_not_read_are_never_cut_off(make_lab: MakeLab) -> None:
    """F6: where a single turn is larger than the limit, all of it is sent: its outputs were not read yet."""
    agent = Agent("desk", model="m", tools=[look], truncation=Truncate(keep_items=1, keep_tokens=1))
    calls = [call("look", {"place": str(number)}, f"c{number}") for number in range(5)]
    lab = await make_lab([agent], script=[Reply(*calls), DONE])
    await (await lab.start("desk", "search")).result()
    assert len(sent(lab, 2)) == 11
    assert lab.model.violations == []


async def test_a_call_that_takes_an_id_of_what_was_left_out_gets_a_new_one(make_lab: MakeLab) -> None:
    """F6: the model cannot know the ids of calls that it is no longer sent; one that it takes again is told apart."""
    agent = Agent("desk", model="m", tools=[look], truncation=Truncate(keep_turns=1))
    again = Reply(call("look", {"place": "a"}, "c1"))
    lab = await make_lab([agent], script=[again, Reply(call("look", {"place": "b"}, "c2")), again, DONE])
    run = await lab.start("desk", "search")
    await run.result()
    whole = await lab.client.get_workflow_handle(run.id).query("transcript", {"whole": True})
    ids = [item["call_id"] for block in whole["blocks"] for item in block["items"] if "output" in item]
    assert len(set(ids)) == 3


async def test_reasoning_stays_with_the_call_that_is_left(make_lab: MakeLab) -> None:
    """F7: a handoff's filter takes one of two calls out that followed on one reasoning: the other keeps it, and the
    API takes what is left."""

    def without_first(_context: RunContext, history: HandoffHistory) -> list[dict[str, Any]]:
        return [item for item in history.items if item.get("call_id") not in ("c1", "h1")]

    billing = Agent("billing", model="m", instructions="You are billing.")
    front = Agent("front", model="m", tools=[look], handoffs=[handoff(billing, filter=without_first)])
    thought = Reply(reasoning("both"), call("look", {"place": "a"}, "c1"), call("look", {"place": "b"}, "c2"))
    lab = await make_lab([front], script=[thought, Reply(call("transfer_to_billing", {}, "h1")), DONE])
    assert (await (await lab.start("front")).result()).agent == "billing"
    assert kinds(sent(lab, 3)) == ["message", "reasoning", "c2", "c2"]
    assert lab.model.violations == []


async def test_a_call_may_stay_without_its_reasoning(make_lab: MakeLab) -> None:
    """F7: a filter that takes all reasoning out leaves calls that the API takes alone."""

    def without_thoughts(_context: RunContext, history: HandoffHistory) -> list[dict[str, Any]]:
        return [item for item in history.items if item["type"] != "reasoning"]

    billing = Agent("billing", model="m")
    front = Agent("front", model="m", tools=[look], handoffs=[handoff(billing, filter=without_thoughts)])
    thought = Reply(reasoning("hm"), call("look", {"place": "a"}, "c1"), call("transfer_to_billing", {}, "h1"))
    lab = await make_lab([front], script=[thought, DONE])
    assert (await (await lab.start("front")).result()).output == "done"
    assert kinds(sent(lab, 2)) == ["message", "c1", "h1", "c1", "h1"]
    assert lab.model.violations == []
