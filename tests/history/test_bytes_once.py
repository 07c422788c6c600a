"""DESIGN principle 2: the history carries each byte once."""

from __future__ import annotations

from handfast import Agent, tool
from handfast.testing import Reply, Script, call, text
from support.labs import MakeLab


@tool(effect="read_only")
async def read(page: int) -> str:
    """Read a page of 2 KB."""
    return f"page {page}: ".ljust(2048, "x")


def reader(turns: int) -> Script:
    """A model that reads one page a turn."""
    return Script.of(
        lambda request: Reply(text("done")) if request.turns >= turns else Reply(call("read", {"page": request.turns}))
    )


async def bytes_and_events(make_lab: MakeLab, turns: int) -> tuple[int, int]:
    """Run *turns* turns of one 2 KB output each, and weigh the history."""
    lab = await make_lab([Agent("reader", model="m", tools=[read])], script=reader(turns))
    run = await lab.start("reader", max_turns=None)
    result = await run.result()
    assert result.turns == turns + 1
    history = await lab.client.get_workflow_handle(run.id).fetch_history()
    assert lab.model.violations == []
    return sum(event.ByteSize() for event in history.events), len(history.events)


async def test_a_hundred_turns_fit_into_half_a_megabyte(make_lab: MakeLab) -> None:
    """100 turns with 2 KB outputs: at most 12 events a turn and 0.5 MB in all, growing with the turns and no faster."""
    small, _ = await bytes_and_events(make_lab, 10)
    large, events = await bytes_and_events(make_lab, 100)
    assert events <= 12 * 101 + 6
    assert large <= 500_000
    assert large / small <= 10.5
