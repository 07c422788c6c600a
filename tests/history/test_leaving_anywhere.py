"""Wherever a run leaves its history, in the middle of whatever it does: it ends as it would have without."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from handfast import (
    Agent,
    Allow,
    Approval,
    InputGuardrail,
    OutputGuardrail,
    Replace,
    RunContext,
    ToolContext,
    ToolResult,
    handoff,
    messages_only,
    tool,
)
from handfast.payloads.json_profile import JsonObject
from handfast.testing import Lab, Reply, Script, call, text
from handfast.testing.script import RecordedRequest
from support.labs import Effects, MakeLab

LENGTHS = (None, 40, 47, 55, 63)
"""Events of a history; a run of this test has some 180."""
WITHIN_S = 80


class Seen(BaseModel):
    """What the tools looked at."""

    pages: list[int] = []


def agents(effects: Effects) -> list[Agent]:
    """A team that does whatever a run can do."""

    @tool(effect="read_only")
    async def look(ctx: ToolContext[Seen], page: int) -> str:
        """Look at a page."""
        effects.append(f"look {page}")
        ctx.context.pages.append(page)
        return f"page {page}"

    @tool(approval=Approval(on_edit="ask_again"))
    async def refund(order: str) -> str:
        """Refund an order."""
        effects.append(f"refund {order}")
        return f"refunded {order}"

    @tool(approval=Approval(quorum=2))
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        return f"wiped {target}"

    async def politely(_context: RunContext, _given: Any) -> Replace:
        return Replace("go, please", info="rude")

    async def beside(_context: RunContext, _given: Any) -> Allow:
        return Allow(info=1)

    async def marked(_context: RunContext, output: Any) -> Replace:
        return Replace(f"<{output}>")

    async def go_on(_context: RunContext, _results: Sequence[ToolResult]) -> None:
        return None

    shared: JsonObject = {"model": "m", "context_type": Seen}
    inner = Agent("inner", instructions="Inner.", tools=[look, wipe], after_tools=go_on, **shared)
    billing = Agent(
        "billing",
        instructions="Billing.",
        description="Handles money.",
        tools=[refund, look],
        output_guardrails=[OutputGuardrail(marked)],
        **shared,
    )
    front = Agent(
        "front",
        instructions="Front.",
        tools=[look, inner.as_tool()],
        handoffs=[handoff(billing, filter=messages_only)],
        after_tools=go_on,
        input_guardrails=[InputGuardrail(politely, parallel=False), InputGuardrail(beside, parallel=True)],
        **shared,
    )
    return [front, inner, billing]


def choose(request: RecordedRequest) -> Reply:
    """What each of the agents says, by what it has read."""
    match request.body["instructions"]:
        case "Inner.":
            wipes = Reply(call("wipe", {"target": "t"}, "w1"), call("look", {"page": 11}))
            return [Reply(call("look", {"page": 10})), wipes, Reply(text("inner done"))][request.turns]
        case "Front.":
            nested = Reply(call("inner", {"input": "please"}, "n1"), call("look", {"page": 3}))
            over = Reply(text("over"), call("transfer_to_billing", {}, "h1"))
            return [Reply(call("look", {"page": 1}), call("look", {"page": 2})), nested, over][request.turns]
    outputs = [item["call_id"] for item in request.body["input"] if item["type"] == "function_call_output"]
    if "r1" in outputs:
        return Reply(text("fine"))
    return Reply(call("refund", {"order": "7"}, "r1") if "b0" in outputs else call("look", {"page": 20}, "b0"))


async def told(lab: Lab, length: int | None) -> tuple[int, JsonObject]:
    """Run it to its end, deciding and saying what there is.

    Returns:
        How many histories it had, and its result without the id of a response, which is each run's own.
    """
    run = await lab.start("front", segment_events=length, context={}, requested_by="owner")
    async for request in run.requests():
        if request.tool == "wipe":
            await run.approve(request, decided_by="first")
            await run.send("and hurry", message_id="m1")
            await run.approve(request.id, decided_by="second")
        elif request.arguments == {"order": "7"}:
            await run.approve(request, decided_by="first", arguments={"order": "8"})
        else:
            await run.approve(request, decided_by="second")
    result = await run.result()
    return len(await lab.histories(run)), result.model_dump(mode="json", exclude={"response_id"})


async def test_where_a_run_leaves_its_history_changes_nothing(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """Guardrails, nested agents, votes, edits, messages, contexts and handoffs go over a crossing at any point."""
    lab = await make_lab(agents(effects), script=Script.of(choose), max_cached_workflows=cache)
    async with asyncio.timeout(WITHIN_S):
        (histories, plain), *others = await asyncio.gather(*(told(lab, length) for length in LENGTHS))
    assert (histories, plain["output"]) == (1, "<fine>")
    assert all(histories > 1 for histories, _ in others)
    assert [result for _, result in others] == [plain] * len(others)
    looks = [f"look {page}" for page in (1, 2, 3, 10, 11, 20)]
    assert Counter(effects) == dict.fromkeys([*looks, "wipe t", "refund 8"], len(LENGTHS))
