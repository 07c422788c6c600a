"""Scenario row H3: a run that is streamed is the same run."""

from __future__ import annotations

from typing import Any

from handfast import Agent, Allow, InProcessDeltas, InputGuardrail, OutputGuardrail, Replace, Run, RunContext, tool
from handfast.testing import Fail, Lab, Reply, call, reasoning, text
from support.labs import MakeLab


def seen(ctx: RunContext, items: Any) -> Allow:
    """Look at what is asked."""
    return Allow(f"{len(items)} item")


def polite(ctx: RunContext, output: str) -> Allow | Replace:
    """Soften what is said."""
    return Replace(output.replace("damn", "very")) if "damn" in output else Allow()


@tool(effect="read_only")
async def look(at: str) -> str:
    """Look at something."""
    return f"{at} is fine"


@tool(approval=True)
async def wipe(target: str) -> str:
    """Delete a target."""
    return f"wiped {target}"


SCRIPT = [
    Fail(503, retry_after=0.1),
    Reply(reasoning("First look."), call("look", {"at": "fans"}, "c1"), call("wipe", {"target": "t"}, "c2")),
    Reply(text("damn good")),
]


def plain(value: Any) -> Any:
    """Without what is new with every reply."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items() if key not in ("id", "encrypted_content", "stream")}
    return [plain(each) for each in value] if isinstance(value, list) else value


async def test_a_streamed_run_is_the_same_run(make_lab: MakeLab, cache: int) -> None:
    """H3: with and without stream, one script leads to the same output, usage, guardrail results and conversation."""
    guarded = Agent(
        "desk",
        model="m",
        tools=[look, wipe],
        input_guardrails=[InputGuardrail(seen)],
        output_guardrails=[OutputGuardrail(polite)],
    )

    async def played(*, stream: bool) -> tuple[Lab, Run]:
        lab = await make_lab([guarded], script=SCRIPT, deltas=InProcessDeltas(), max_cached_workflows=cache)
        run = await lab.start("desk", stream=stream)
        await run.approve(await lab.next_request(run), decided_by="lead")
        return lab, run

    (loud, told), (quiet, untold) = await played(stream=True), await played(stream=False)
    result, expected = await told.result(), await untold.result()
    assert result.output == "very good"
    assert result.model_copy(update={"response_id": None}) == expected.model_copy(update={"response_id": None})
    assert [plain(request.body) for request in loud.model.requests] == [
        plain(request.body) for request in quiet.model.requests
    ]
    assert [request.body.get("stream") for request in loud.model.requests] == [True] * 3
    assert (loud.model.violations, quiet.model.violations) == ([], [])
