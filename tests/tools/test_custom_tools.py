"""Custom tools: the model writes free text, and reads an output of the same kind."""

from __future__ import annotations

from typing import Any

import pytest

from handfast import Agent, Approve, RunContext, ToolContext, custom_tool, tool
from handfast.definitions.tools.custom import CustomInput
from handfast.errors import DefinitionError, EditRefusedError, RunFailedError
from handfast.testing import Lab, Reply, call, custom_call, text
from support.labs import Effects, MakeLab

GRAMMAR = {"type": "grammar", "syntax": "regex", "definition": "[a-z ]+"}
DONE = Reply(text("done"))


def scribe(effects: Effects, **options: Any) -> Agent:
    """An agent with one custom tool."""

    @custom_tool(description="Write lines.", **options)
    async def write(ctx: ToolContext[Any], lines: str) -> str:
        effects.append(f"{ctx.arguments} {lines}")
        return f"{len(lines)} characters"

    return Agent("scribe", model="m", tools=[write])


def answers(lab: Lab, request: int = 2) -> list[dict[str, Any]]:
    """The answers to calls that a model request carried, in its order."""
    return [item for item in lab.model.requests[request - 1].body["input"] if item["type"].endswith("_output")]


async def test_a_custom_call_runs_with_its_text(make_lab: MakeLab, effects: Effects) -> None:
    """The function gets the text as it is, and the model a custom output."""
    source = 'print("hi")\n\ttab \\ "quoted" é'
    lab = await make_lab([scribe(effects)], script=[Reply(custom_call("write", source, "c1")), DONE])
    run = await lab.start("scribe")
    assert (await run.result()).output == "done"
    assert effects == [f"{ {'input': source} } {source}"]
    assert answers(lab) == [{"type": "custom_tool_call_output", "call_id": "c1", "output": f"{len(source)} characters"}]
    assert lab.model.requests[0].body["tools"] == [{"type": "custom", "name": "write", "description": "Write lines."}]


async def test_a_custom_call_too_large_to_travel_comes_by_its_block(make_lab: MakeLab, effects: Effects) -> None:
    """A text above what an activity carries reaches the function whole."""
    lab = await make_lab([scribe(effects)], script=[Reply(custom_call("write", "x" * 100_000, "c1")), DONE])
    run = await lab.start("scribe")
    await run.result()
    assert answers(lab)[0]["output"] == "100000 characters"


async def test_a_gated_custom_call_asks_and_takes_edited_text(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """Its arguments are {"input": text}, for the approver as for the rule; another shape is refused."""

    def long_ones(ctx: RunContext[Any], arguments: CustomInput) -> bool:
        return len(arguments.input) > 3

    replies = [Reply(custom_call("write", "abc", "c1"), custom_call("write", "abcdef", "c2")), DONE]
    agent = scribe(effects, approval=long_ones, format=GRAMMAR)
    lab = await make_lab([agent], script=replies, max_cached_workflows=cache)
    run = await lab.start("scribe")
    [request] = await lab.open_requests(run, 1)
    assert (request.tool, request.arguments) == ("write", {"input": "abcdef"})
    with pytest.raises(EditRefusedError):
        await run.decide(request, Approve(arguments={"text": "no"}), decided_by="lead")
    await lab.replace_worker()
    await run.decide(request, Approve(arguments={"input": "ab"}), decided_by="lead")
    await run.result()
    assert sorted(effects) == ["{'input': 'ab'} ab", "{'input': 'abc'} abc"]
    assert [(each["type"], each["call_id"]) for each in answers(lab)] == [
        ("custom_tool_call_output", "c1"),
        ("custom_tool_call_output", "c2"),
    ]
    assert answers(lab)[1]["output"].endswith("\n\n2 characters")


async def test_a_name_called_in_the_wrong_way_is_answered_in_that_way(make_lab: MakeLab, effects: Effects) -> None:
    """A custom tool called like a function, and the other way round, runs nothing and is told so by its own output."""

    @tool
    def look() -> str:
        """Look."""
        effects.append("look")
        return "fine"

    [write] = scribe(effects).tools
    agent = Agent("scribe", model="m", tools=[write, look])
    reply = Reply(call("write", {"input": "x"}, "c1"), custom_call("look", "x", "c2"), custom_call("nothing", "", "c3"))
    lab = await make_lab([agent], script=[reply, DONE])
    run = await lab.start("scribe")
    await run.result()
    assert effects == []
    assert [each["type"] for each in answers(lab)] == [
        "function_call_output",
        "custom_tool_call_output",
        "custom_tool_call_output",
    ]
    assert all(each["output"].startswith("Error: there is no tool") for each in answers(lab))
    assert lab.model.violations == []


async def test_a_custom_call_that_was_never_offered_fails_the_run(make_lab: MakeLab, effects: Effects) -> None:
    """An agent without custom tools cannot be called in that way: it is asked again, then the run fails with a type."""

    @tool
    def look() -> str:
        """Look."""
        return "fine"

    lab = await make_lab([Agent("a", model="m", tools=[look])], script=[Reply(custom_call("look", "x"))] * 3)
    run = await lab.start("a")
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert failed.value.kind == "ModelReplyInvalid"


@pytest.mark.parametrize(
    ("format", "problem"),
    [
        pytest.param({"type": "grammar"}, "format must be", id="no-definition"),
        pytest.param({"type": "grammar", "syntax": "ebnf", "definition": "x"}, "format must be", id="syntax"),
        pytest.param({"type": "json"}, "format must be", id="type"),
        pytest.param({"type": "text", "more": object()}, "must be JSON", id="no-json"),
    ],
)
def test_a_format_that_cannot_work_is_refused(format: dict[str, Any], problem: str) -> None:
    """The provider would refuse every request of the agent: the definition says so first."""

    def write(lines: str) -> str:
        return lines

    with pytest.raises(DefinitionError, match=problem):
        custom_tool(format=format)(write)


def test_a_function_that_does_not_take_one_text_is_refused() -> None:
    """A custom tool has one text and nothing else."""

    def two(one: str, other: str) -> str:
        return one + other

    def number(count: int) -> str:
        return str(count)

    for function in (two, number):
        with pytest.raises(DefinitionError, match="must take one text"):
            custom_tool(function)
