"""Scenario row A4: gated calls of different kinds in one reply."""

from __future__ import annotations

import json
from typing import Any

import pytest

from handfast import Agent, custom_tool, hosted_mcp, shell_tool, tool
from handfast.testing import Lab, Reply, call, custom_call, mcp_approval, text
from support.labs import Effects, MakeLab

MIXED = Reply(
    call("refund", {"order": 7}, "c1"),
    call("shell", {"command": "echo hello"}, "c2"),
    custom_call("sql", "DELETE FROM carts", "c3"),
    mcp_approval("wiki", "edit", {"page": "home"}, "mcpr_4"),
)
DONE = Reply(text("done"))


def clerk(effects: Effects) -> Agent:
    """An agent with gated tools of every kind."""

    @tool(approval=True)
    async def refund(order: int) -> str:
        """Refund an order."""
        effects.append(f"refund {order}")
        return "refunded"

    @custom_tool(approval=True)
    async def sql(query: str) -> str:
        """Run a statement."""
        effects.append(query)
        return "3 rows"

    wiki = hosted_mcp("wiki", server_url="https://wiki.example/mcp")
    return Agent("clerk", model="m", tools=[refund, shell_tool(), sql, wiki])


def answered(lab: Lab) -> list[dict[str, Any]]:
    """The answers that the second request carried, in its order."""
    items = lab.model.requests[1].body["input"]
    return [item for item in items if item["type"].endswith(("_output", "_response"))]


async def test_each_kind_of_call_resolves_through_its_own_output(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """A4: of a function, shell, custom and hosted MCP call each decided one runs at once, and the next request, sent
    when all are settled, carries exactly one output of each call's own type."""
    lab = await make_lab([clerk(effects)], script=[MIXED, DONE], max_cached_workflows=cache)
    run = await lab.start("clerk")
    pending = {request.tool: request for request in await lab.open_requests(run, 4)}
    assert {tool: request.kind for tool, request in pending.items()} == {
        "refund": "approval",
        "shell": "approval",
        "sql": "approval",
        "wiki.edit": "hosted_mcp",
    }
    await run.approve(pending["wiki.edit"], decided_by="lead")
    await run.approve(pending["sql"], decided_by="lead")
    await lab.replace_worker()
    assert {request.tool for request in await run.pending()} == {"refund", "shell"}
    assert len(lab.model.requests) == 1
    await run.approve(pending["shell"], decided_by="lead")
    await run.reject(pending["refund"], decided_by="lead", reason="too late")
    assert (await run.result()).output == "done"
    assert effects == ["DELETE FROM carts"]
    refund, shell, sql, wiki = answered(lab)
    assert refund == {"type": "function_call_output", "call_id": "c1", "output": "too late"}
    assert (shell["type"], shell["call_id"]) == ("function_call_output", "c2")
    assert json.loads(shell["output"])["stdout"] == "hello\n"
    assert sql == {"type": "custom_tool_call_output", "call_id": "c3", "output": "3 rows"}
    assert wiki == {"type": "mcp_approval_response", "approval_request_id": "mcpr_4", "approve": True}
    assert lab.model.violations == []


@pytest.mark.parametrize("decided", ["refund", "shell", "sql", "wiki.edit"])
async def test_nothing_is_sent_while_one_call_is_open(make_lab: MakeLab, effects: Effects, decided: str) -> None:
    """A4: with one call of four decided, whichever it is, the model is not asked again until the others are."""
    lab = await make_lab([clerk(effects)], script=[MIXED, DONE])
    run = await lab.start("clerk")
    pending = await lab.open_requests(run, 4)
    [first] = [request for request in pending if request.tool == decided]
    await run.approve(first, decided_by="lead")
    others = [request for request in pending if request.tool != decided]
    for request in others:
        assert len(lab.model.requests) == 1
        await run.reject(request, decided_by="lead")
    await run.result()
    kinds = [item["type"] for item in answered(lab)]
    assert kinds == [
        "function_call_output",
        "function_call_output",
        "custom_tool_call_output",
        "mcp_approval_response",
    ]
    assert lab.model.violations == []
