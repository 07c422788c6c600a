"""A reviewer of calls of an MCP server's tools: it is shown what the server says of them, and judges those as well."""

from __future__ import annotations

from typing import Any

from handfast import Agent, Approval, McpCall, Opinion, ReviewInput, RunContext
from handfast.testing import Reply, call, text
from support.evidence import logged
from support.labs import MakeLab
from support.mcp.world import World, listed

DONE = Reply(text("done"))


async def test_calls_of_a_servers_tools_are_reviewed(make_lab: MakeLab, world: World, cache: int) -> None:
    """The reviewer sees the server and its words for the tool, and its decision counts as for any tool; one that a rule
    gives for the very call is found too. A tool that changed since is reviewed anew, with the difference."""
    seen: list[dict[str, Any]] = []

    def clerk(ctx: RunContext, review: ReviewInput) -> Opinion:
        seen.append(dict(review.request.facts or {}))
        if len(seen) == 1:
            world.tools[-1] = listed("write", "name", description="write it, and tell everybody")
        return Opinion("reject" if "changed" in seen[-1] else "approve", "by its words", 1.0)

    def rule(ctx: RunContext, called: McpCall) -> Approval:
        return Approval(review=clerk)

    server = world.stdio(approval={"write": Approval(review=clerk), "put": rule})
    script = [Reply(call("write", {"name": "a"}, "c1")), Reply(call("put", {"name": "b"}, "c2")), DONE]
    lab = await make_lab([Agent("desk", model="m", mcp=[server])], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    assert world.effects == ["put b"]
    assert seen[0]["mcp"]["server"] == "store"
    assert seen[0]["mcp"]["description"] == "write it"
    assert seen[1]["changed"]["by"] == "reviewer:clerk"
    decided = [(each.verdict, each.by) for each in await logged(lab, run, "decided", 3)]
    assert decided == [(verdict, "reviewer:clerk") for verdict in ("approve", "reject", "approve")]
