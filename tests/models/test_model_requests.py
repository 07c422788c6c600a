"""What the model is sent: a choice of tool that comes to an end, and reasoning together with what it led to."""

from __future__ import annotations

from typing import Any

import pytest

from handfast import Agent, tool
from handfast.testing import Lab, Reply, call, raw, reasoning, text
from support.labs import Effects, MakeLab

DONE = Reply(text("done"))
LOOK = Reply(call("look"))


def desk(effects: Effects, **options: Any) -> Agent:
    """An agent with one gated and one free tool."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    @tool(effect="read_only")
    async def look() -> str:
        """Look."""
        return "fine"

    return Agent("desk", model="m", tools=[wipe, look], **options)


def allowed(mode: str) -> dict[str, Any]:
    """A choice that leaves the model some of the tools only."""
    return {"type": "allowed_tools", "mode": mode, "tools": [{"type": "function", "name": n} for n in ("look", "wipe")]}


def choices(lab: Lab) -> list[Any]:
    """The choice of tool that each request asked for."""
    return [record.body.get("tool_choice") for record in lab.model.requests]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({"model_settings": {"tool_choice": "required"}}, ["required", "auto", "auto"], id="required"),
        pytest.param(
            {"model_settings": {"tool_choice": {"type": "function", "name": "look"}}},
            [{"type": "function", "name": "look"}, "auto", "auto"],
            id="named",
        ),
        pytest.param({"model_settings": {"tool_choice": "auto"}}, ["auto"] * 3, id="auto"),
        *(
            pytest.param(
                {"model_settings": {"tool_choice": allowed(mode)}},
                [allowed(mode), allowed("auto"), allowed("auto")],
                id=f"allowed-{mode}",
            )
            for mode in ("required", "auto")
        ),
        pytest.param({}, [None] * 3, id="none-given"),
        pytest.param(
            {"model_settings": {"tool_choice": "required"}, "reset_tool_choice": False}, ["required"] * 3, id="kept"
        ),
    ],
)
async def test_a_forced_choice_of_tool_ends_with_the_first_call(
    make_lab: MakeLab, effects: Effects, options: dict[str, Any], expected: list[Any], cache: int
) -> None:
    """An agent that must call a tool may answer after it has; over a pause and a restart, and unless told otherwise."""
    script = [LOOK, Reply(call("wipe", {"target": "a"})), DONE]
    lab = await make_lab([desk(effects, **options)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    await run.result()
    assert choices(lab) == expected


async def test_a_forced_choice_begins_anew_with_each_loop(make_lab: MakeLab, effects: Effects) -> None:
    """Calls in the run's input, and those of the agent above, are no calls of this loop: its choice still holds."""
    forced: dict[str, Any] = {"model_settings": {"tool_choice": "required"}}
    inner = desk(effects, **forced)
    outer = Agent("outer", model="m", tools=[inner.as_tool()], **forced)
    script = [Reply(call("desk", {"input": "look"})), LOOK, Reply(text("looked")), DONE]
    lab = await make_lab([outer], script=script)
    given = [
        {"type": "function_call", "call_id": "old", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "old", "output": "fine"},
        {"role": "user", "content": "look again"},
    ]
    run = lab.watch(await lab.hf.start("outer", given))
    await run.result()
    assert choices(lab) == ["required", "required", "auto", "auto"]


THOUGHT: dict[str, Any] = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "two"}
LOOK_AGAIN: dict[str, Any] = {
    "type": "function_call",
    "id": "fc_2",
    "call_id": "c1",
    "name": "look",
    "arguments": "{}",
    "status": "completed",
}


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        pytest.param(Reply(reasoning("a"), call("look", {}, "c1")), ["reasoning", "function_call"], id="one"),
        pytest.param(
            Reply(reasoning("a"), call("look", {}, "c1"), reasoning("b"), call("look", {}, "c2")),
            ["reasoning", "function_call"] * 2,
            id="two",
        ),
        pytest.param(
            Reply(reasoning("a"), call("look", {}, "c1"), raw(THOUGHT), raw(LOOK_AGAIN)),
            ["reasoning", "function_call"],
            id="a-duplicate-and-its-reasoning-at-the-end",
        ),
        pytest.param(
            Reply(call("look", {}, "c1"), raw(THOUGHT), raw(LOOK_AGAIN), text("one moment")),
            ["function_call", "message"],
            id="a-duplicate-and-its-reasoning-in-the-middle",
        ),
        pytest.param(
            Reply(call("look", {}, "c1"), raw(THOUGHT)), ["function_call"], id="reasoning-that-leads-to-nothing"
        ),
    ],
)
async def test_reasoning_goes_back_with_the_call_that_it_led_to(
    make_lab: MakeLab, effects: Effects, reply: Reply, kept: list[str], cache: int
) -> None:
    """A reply is sent back as it came, reasoning before its call; what led to a dropped duplicate goes too."""
    script = [reply, Reply(reasoning("c"), call("wipe", {"target": "a"})), DONE]
    lab = await make_lab([desk(effects)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    await run.result()
    assert lab.model.violations == []
    sent = [item["type"] for item in lab.model.requests[-1].body["input"][1:]]
    calls = kept.count("function_call")
    assert sent == [
        *kept,
        *(["function_call_output"] * calls),
        "reasoning",
        "function_call",
        "function_call_output",
    ]


async def test_the_scripted_model_refuses_reasoning_on_its_own(make_lab: MakeLab, effects: Effects) -> None:
    """What these tests lean on: reasoning without the item that it led to is a violation of the scripted model."""
    lab = await make_lab([desk(effects)], script=[Reply(reasoning("a"), text("first")), DONE, DONE])
    await (await lab.start("desk")).result()
    reply = lab.model.requests[0].reply
    assert reply is not None
    [thought, message] = reply["output"]
    other = {**message, "id": "msg_other"}
    question = {"role": "user", "content": "and?"}
    for number, items in enumerate(([thought, question], [thought, other, question]), 1):
        await lab.replace_worker()  # another one: a worker learns from the first refusal
        run = lab.watch(await lab.hf.start("desk", items))
        await run.result()
        assert len(lab.model.violations) == number
        assert "without its required following item" in lab.model.violations[-1].message
