"""Scenario row B5: what ends a run when tools have ended; and how many calls run at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from handfast import Agent, FinalOutput, Replace, RunContext, StopAt, ToolContext, ToolResult, tool
from handfast.errors import DefinitionError, RunFailedError
from handfast.testing import Reply, call, text
from support.desk import outputs
from support.labs import Effects, MakeLab

DONE = Reply(text("done"))
BOTH = Reply(call("wipe", {"target": "a"}, "c1"), call("look", {}, "c2"))


def agent(effects: Effects, after_tools: Any, **options: Any) -> Agent:
    """An agent with a gated and a free tool."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Wipe."""
        effects.append(target)
        return f"wiped {target}"

    @tool(effect="read_only")
    async def look() -> dict[str, Any]:
        """Look."""
        return {"z": 1, "found": [None, True]}

    return Agent("desk", model="m", tools=[wipe, look], after_tools=after_tools, **options)


@pytest.mark.parametrize("after_tools", ["stop_on_first", StopAt("wipe")], ids=["first", "at"])
async def test_a_rejection_never_ends_the_run(
    make_lab: MakeLab, effects: Effects, after_tools: Any, cache: int
) -> None:
    """B5: with stop-on-tool, a rejected call, and one that a person answered, is read by the model, which goes on."""
    script = [
        Reply(call("wipe", {"target": "a"}, "c1")),
        Reply(call("wipe", {"target": "b"}, "c2")),
        Reply(text("done")),
    ]
    lab = await make_lab([agent(effects, after_tools)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    requests = run.requests()
    await run.reject(await anext(requests), decided_by="lead", reason="no")
    await run.answer(await anext(requests), "done by hand", decided_by="lead")
    assert (await run.result()).output == "done"
    assert outputs(lab, 3) == [("c1", "no"), ("c2", "done by hand")]
    assert effects == []


async def test_an_approved_call_ends_the_run(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """B5: the first call in the model's order that ran ends the run, when all have ended; no further model call."""
    lab = await make_lab([agent(effects, "stop_on_first")], script=[BOTH], max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    result = await run.result()
    assert (result.output, result.turns) == ("wiped a", 1)
    assert len(lab.model.requests) == 1


@pytest.mark.parametrize("after_tools", ["stop_on_first", StopAt("look")], ids=["first", "at"])
async def test_the_output_stays_structured(make_lab: MakeLab, effects: Effects, after_tools: Any, cache: int) -> None:
    """B5: with its sibling rejected, the structured output of the call that ran is the run's output, as JSON."""
    lab = await make_lab([agent(effects, after_tools)], script=[BOTH], max_cached_workflows=cache)
    run = await lab.start("desk")
    await run.reject(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).output == {"z": 1, "found": [None, True]}
    assert effects == []


async def test_a_function_decides(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """B5: a function sees every call as it ended, in order, with what it ran with; its FinalOutput is the output."""
    seen: list[list[ToolResult]] = []

    async def decide(ctx: RunContext, results: Sequence[ToolResult]) -> FinalOutput | None:
        seen.append(list(results))
        return FinalOutput({"turn": ctx.turn, "ok": [each.ok for each in results]}) if len(seen) > 1 else None

    script = [
        Reply(call("nothing", {}, "c0"), call("wipe", {"target": "a"}, "c1"), call("look", {}, "c2")),
        Reply(call("look", {}, "c3")),
    ]
    lab = await make_lab([agent(effects, decide)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead", arguments={"target": "b"})
    assert (await run.result()).output == {"turn": 2, "ok": [True]}
    unknown, wiped, looked = seen[0]
    assert (unknown.ok, unknown.arguments) == (False, {})
    assert unknown.output.startswith("Error: there is no tool")
    assert (wiped.arguments, wiped.output, wiped.ok) == ({"target": "b"}, "wiped b", True)
    assert (looked.tool, looked.call_id, looked.output) == ("look", "c2", {"z": 1, "found": [None, True]})


def raising(_ctx: RunContext, _results: Sequence[ToolResult]) -> None:
    """A function with a bug."""
    raise KeyError("bug")


def nonsense(_ctx: RunContext, _results: Sequence[ToolResult]) -> Any:
    """A function that answers what it must not."""
    return "stop"


@pytest.mark.parametrize(
    ("function", "why"), [(raising, "raised KeyError"), (nonsense, "answered str")], ids=["raises", "nonsense"]
)
async def test_a_function_that_cannot_tell_fails_the_run(
    make_lab: MakeLab, effects: Effects, function: Any, why: str
) -> None:
    """B5: a function that raises or answers nonsense ends the run, typed: nobody knows whether it should go on."""
    lab = await make_lab([agent(effects, function)], script=[Reply(call("look", {}, "c1"))])
    with pytest.raises(RunFailedError, match=why) as failed:
        await (await lab.start("desk")).result()
    assert failed.value.kind == "AfterToolsFailed"


async def test_output_guardrails_see_what_a_tool_made_the_output(make_lab: MakeLab, effects: Effects) -> None:
    """B5: the agent's output guardrails look at an output that a tool gave, like at any other."""

    def look_at(_ctx: RunContext, output: Any) -> Replace:
        return Replace(f"seen {output['z']}")

    lab = await make_lab(
        [agent(effects, "stop_on_first", output_guardrails=[look_at])], script=[Reply(call("look", {}, "c1"))]
    )
    assert (await (await lab.start("desk")).result()).output == "seen 1"


async def test_a_failed_call_ends_nothing(make_lab: MakeLab) -> None:
    """B5: a tool that raises or runs out of time does not end the run."""

    @tool(effect="read_only")
    def fail() -> None:
        """Fail."""
        raise ValueError("no")

    @tool(timeout=timedelta(milliseconds=50))
    async def hang() -> None:
        """Hang."""
        await asyncio.Event().wait()

    lab = await make_lab(
        [Agent("desk", model="m", tools=[fail, hang], after_tools="stop_on_first")],
        script=[Reply(call("fail", {}, "c1"), call("hang", {}, "c2")), DONE],
    )
    assert (await (await lab.start("desk")).result()).output == "done"


async def test_only_so_many_calls_run_at_once(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """With max_parallel_calls, free places are taken in the model's order; approvals are asked for at once."""
    running = 0
    most = 0
    go = {place: asyncio.Event() for place in range(5)}
    began = {place: asyncio.Event() for place in range(5)}

    def gate(_ctx: RunContext, arguments: Any) -> bool:
        return bool(arguments.place == 4)

    @tool(approval=gate)
    async def work(ctx: ToolContext, place: int) -> str:
        """Work until told."""
        nonlocal running, most
        running += 1
        most = max(most, running)
        effects.append(ctx.call_id)
        began[place].set()
        await go[place].wait()
        running -= 1
        return str(place)

    lab = await make_lab(
        [Agent("desk", model="m", tools=[work], max_parallel_calls=2)],
        script=[Reply(*(call("work", {"place": place}, f"c{place}") for place in range(5))), DONE],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk")
    request = await lab.next_request(run)
    for place in (0, 1):
        await asyncio.wait_for(began[place].wait(), 20)
    await run.approve(request, decided_by="lead")
    assert sorted(effects) == ["c0", "c1"]
    for ended, next_one in ((1, 2), (0, 3), (3, 4)):
        go[ended].set()
        await asyncio.wait_for(began[next_one].wait(), 20)
    go[2].set()
    go[4].set()
    await run.result()
    assert most == 2
    assert [output for _, output in outputs(lab)] == ["0", "1", "2", "3", "4"]
    assert effects[2:] == ["c2", "c3", "c4"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        pytest.param({"after_tools": "stop"}, "after_tools must be", id="unknown-word"),
        pytest.param(
            {"after_tools": StopAt("nothing")}, "stops at nothing, but its tools are: none", id="no-such-tool"
        ),
        pytest.param({"after_tools": lambda results: None}, "must take exactly 2", id="one-argument"),
        pytest.param({"max_parallel_calls": 0}, "max_parallel_calls must be", id="no-place"),
        pytest.param({"max_parallel_calls": True}, "max_parallel_calls must be", id="bool"),
    ],
)
def test_what_cannot_work_is_refused_with_the_agent_named(options: dict[str, Any], problem: str) -> None:
    """Wrong options raise DefinitionError where the agent is made."""
    with pytest.raises(DefinitionError, match="agent 'desk'") as refused:
        Agent("desk", **options)
    assert problem in str(refused.value)


def test_stopping_at_nothing_is_refused() -> None:
    """StopAt needs names."""
    with pytest.raises(DefinitionError, match="StopAt"):
        StopAt()
