"""Scenario rows A: parallel calls, some of them gated."""

from __future__ import annotations

from conftest import Effects, MakeLab
from holdfast import Agent, tool
from holdfast.testing import Reply, call, text


def desk(effects: Effects) -> Agent:
    """An agent with one gated and one free tool."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        return f"wiped {target}"

    @tool(effect="read_only")
    async def look(check: str) -> str:
        """Look at something."""
        effects.append(f"look {check}")
        return f"{check} is fine"

    return Agent("desk", instructions="Help.", model="m", tools=[wipe, look])


MIXED = Reply(
    call("wipe", {"target": "temp"}, "c1"),
    call("look", {"check": "fans"}, "c2"),
    call("wipe", {"target": "logs"}, "c3"),
)


async def test_a1_free_calls_run_while_gated_ones_wait(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """A1: of [gated, free, gated] the free call runs at once, two approvals wait, and the model is not called again."""
    lab = await make_lab([desk(effects)], script=[MIXED, Reply(text("done"))], max_cached_workflows=cache)
    run = await lab.start("desk")
    pending = await lab.open_requests(run, 2)
    assert [request.arguments for request in pending] == [{"target": "temp"}, {"target": "logs"}]
    status = await run.status()
    assert status.status == "waiting"
    assert len(lab.model.requests) == 1
    for request in pending:
        await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert sorted(effects) == ["look fans", "wipe logs", "wipe temp"]
