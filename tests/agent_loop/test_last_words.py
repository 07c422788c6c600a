"""Scenario row I5, and refusals: the agent's own functions say what a run ends with."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from handfast import Agent, FinalOutput, MaxTurns, Refusal, RunContext, tool
from handfast.errors import DefinitionError, RunFailedError
from handfast.testing import Lab, Reply, call, refusal, text
from handfast.testing.script import Usage
from support.labs import Effects, MakeLab


class Summary(BaseModel):
    """What a handler returns."""

    done: list[str]


def desk(effects: Effects, **options: Any) -> Agent:
    """An agent with one gated tool, and one turn."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    return Agent("desk", model="m", tools=[wipe], **{"max_turns": 1, **options})


WIPE = Reply(call("wipe", {"target": "a"}))
NO = Reply(refusal("I will not do that"), usage=Usage(input_tokens=10, output_tokens=5))


async def transcript(lab: Lab, run_id: str) -> list[dict[str, Any]]:
    """What stands in a run's history, as the model would read it."""
    page = await lab.client.get_workflow_handle(run_id).query("transcript", {"frame": "0"})
    return [item for block in page["blocks"] for item in block["items"]]


@pytest.mark.parametrize("included", [False, True])
async def test_a_handler_ends_a_resumed_run(make_lab: MakeLab, effects: Effects, included: bool, cache: int) -> None:
    """I5: at the limit of a resumed run the handler's output is the run's; it is in the history only when asked for."""

    async def summarize(context: RunContext[Any], limit: MaxTurns) -> FinalOutput:
        return FinalOutput(Summary(done=[f"{context.agent} {context.turn} {limit.max_turns}"]), included)

    lab = await make_lab([desk(effects, on_max_turns=summarize)], script=[WIPE], max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    result = await run.result()
    assert (result.output, result.turns) == ({"done": ["desk 1 1"]}, 1)
    assert effects == ["a"]
    last = (await transcript(lab, run.id))[-1]
    assert (last.get("role") == "assistant", '"desk 1 1"' in str(last.get("content"))) == (included, included)


def broken(context: RunContext[Any], limit: object) -> Any:
    """Raise."""
    raise RuntimeError("no idea")


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        pytest.param(lambda context, limit: None, "without an answer; raise max_turns$", id="none"),
        pytest.param(broken, "on_max_turns raised RuntimeError: no idea", id="raises"),
        pytest.param(lambda context, limit: {"x": object()}, "on_max_turns returned what is no JSON", id="no-json"),
        pytest.param(lambda context, limit: float("nan"), "on_max_turns returned what is no JSON", id="nan"),
        pytest.param(lambda context, limit: "x" * 300_000, "on_max_turns returned 300,002 bytes", id="too-large"),
    ],
)
async def test_a_handler_without_an_answer_leaves_the_failure(
    make_lab: MakeLab, effects: Effects, handler: Any, says: str
) -> None:
    """I5: a handler that returns nothing, raises, or returns what cannot be recorded leaves the limit's own failure."""
    lab = await make_lab([desk(effects, on_max_turns=handler)], script=[WIPE])
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    with pytest.raises(RunFailedError, match=says) as failed:
        await run.result()
    assert failed.value.kind == "MaxTurnsExceeded"


async def test_a_rejected_budget_is_handled_too(make_lab: MakeLab, effects: Effects) -> None:
    """I5: where a person is asked for more turns and refuses, the handler still says what the run ends with."""
    agent = desk(effects, on_limit="ask", on_max_turns=lambda context, limit: "so far so good")
    lab = await make_lab([agent], script=[WIPE])
    run = await lab.start("desk")
    await run.reject(await lab.next_request(run), decided_by="lead")
    async for request in run.requests():
        if request.kind == "budget":
            await run.reject(request, decided_by="lead")
    assert (await run.result()).output == "so far so good"


@pytest.mark.parametrize("resumed", [False, True], ids=["fresh", "resumed"])
@pytest.mark.parametrize("handled", [False, True], ids=["failed", "handled"])
async def test_a_refusal_is_handled_or_a_typed_failure(
    make_lab: MakeLab, effects: Effects, resumed: bool, handled: bool, cache: int
) -> None:
    """O7: a refusal ends the run as its agent's function says, else as a typed failure; its reply stands once."""
    options = {"on_refusal": lambda context, said: f"declined: {said.text}"} if handled else {}
    script = [WIPE, NO] if resumed else [NO]
    lab = await make_lab([desk(effects, max_turns=5, **options)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    if resumed:
        request = await lab.next_request(run)
        await lab.replace_worker()
        await run.approve(request, decided_by="lead")
    if handled:
        result = await run.result()
        assert (result.output, result.turns) == ("declined: I will not do that", len(script))
        assert result.by_request[-1].usage.total_tokens == 15
    else:
        with pytest.raises(RunFailedError, match="the model refused: I will not do that") as failed:
            await run.result()
        assert failed.value.kind == "ModelRefusal"
    said = [item for item in await transcript(lab, run.id) if "I will not do that" in str(item)]
    assert len(said) == 1
    assert len(lab.model.requests) == len(script)


async def test_calls_beside_a_refusal_do_not_run(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """O7: a reply that refuses and calls a tool all the same is a refusal."""
    both = Reply(refusal("no"), call("wipe", {"target": "a"}))
    agent = desk(effects, on_refusal=lambda context, said: Refusal(said.text).text)
    lab = await make_lab([agent], script=[both], max_cached_workflows=cache)
    assert (await (await lab.start("desk")).result()).output == "no"
    assert effects == []


@pytest.mark.parametrize("resumed", [False, True], ids=["fresh", "resumed"])
@pytest.mark.parametrize(
    "odd",
    [
        pytest.param((Reply(call("vanish", {}, "c9")), None), id="unknown-tool"),
        pytest.param((Reply(text("hal"), status="incomplete"), "ModelIncomplete"), id="incomplete"),
        pytest.param((Reply(text("hal"), status="failed"), None), id="failed"),
    ],
)
async def test_odd_replies_end_alike_on_fresh_and_resumed_turns(
    make_lab: MakeLab, effects: Effects, odd: tuple[Reply, str | None], resumed: bool, cache: int
) -> None:
    """O7: an unknown tool is told to the model, a failed reply is asked for again, and an incomplete one fails the run:
    on a run's first turn, and after a pause and a restart."""
    reply, kind = odd
    script = [*([WIPE] if resumed else []), reply, Reply(text("done"))]
    lab = await make_lab([desk(effects, max_turns=5)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    if resumed:
        request = await lab.next_request(run)
        await lab.replace_worker()
        await run.approve(request, decided_by="lead")
    if kind is None:
        assert (await run.result()).output == "done"
        last = lab.model.requests[-1].body["input"]
        told = [item["output"] for item in last if item.get("call_id") == "c9" and "output" in item]
        assert told == (["Error: there is no tool 'vanish'; there are: wipe"] if "vanish" in str(reply) else [])
    else:
        with pytest.raises(RunFailedError) as failed:
            await run.result()
        assert failed.value.kind == kind
    assert effects == (["a"] if resumed else [])
    assert lab.model.violations == []


@pytest.mark.parametrize("option", ["on_max_turns", "on_refusal"])
@pytest.mark.parametrize("wrong", ["text", lambda context: None], ids=["text", "one-argument"])
def test_a_handler_that_cannot_work_is_refused(option: str, wrong: Any) -> None:
    """I5: a handler that is no function of two arguments is refused where the agent is made."""
    with pytest.raises(DefinitionError, match=f"agent 'desk': {option}"):
        Agent("desk", **{option: wrong})
