"""Progress from inside a tool: seen while it runs, and in no history."""

from __future__ import annotations

import asyncio
import math
import threading

import pytest

from handfast import Agent, Run, ToolContext, tool
from handfast.payloads.tool_call import PROGRESS_BYTES
from handfast.testing import Lab, Reply, call, text
from support.labs import MakeLab
from support.progress import told

DONE = Reply(text("done"))


async def marks(lab: Lab, run: Run) -> list[object]:
    """The mark in every heartbeat that the server has: the first of its details."""
    described = await lab.client.get_workflow_handle(run.id).describe()
    converter = lab.client.data_converter
    return [
        (await converter.decode(list(pending.heartbeat_details.payloads)))[0].get("begun")
        for pending in described.raw_description.pending_activities
    ]


async def test_progress_is_read_while_the_tool_runs(make_lab: MakeLab, cache: int) -> None:
    """What a tool says is read by any client, the newest of each call; the begun mark stays first, and the history
    holds none of it."""
    go_on, end = asyncio.Event(), asyncio.Event()

    @tool
    async def work(ctx: ToolContext) -> str:
        """Work in steps."""
        for place in range(100):
            ctx.progress(f"skipped {place}")
        ctx.progress("first step", done=1, total=2)
        await go_on.wait()
        ctx.progress("second step " + "x" * 5000)
        await end.wait()
        return "worked"

    lab = await make_lab(
        [Agent("desk", model="m", tools=[work])],
        script=[Reply(call("work", {}, "c1")), DONE],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk")
    first = await told(run, "first step")
    assert (first.tool, first.call_id, first.done, first.total) == ("work", "c1", 1.0, 2.0)
    assert await marks(lab, run) == [1]
    go_on.set()
    second = await told(run, "second step")
    assert len(second.text) == PROGRESS_BYTES
    assert second.at > first.at
    assert await marks(lab, run) == [1]
    end.set()
    assert (await run.result()).output == "done"
    assert await run.progress() == []
    history = await lab.client.get_workflow_handle(run.id).fetch_history()
    assert "first step" not in history.to_json()


async def test_progress_comes_from_a_thread_too(make_lab: MakeLab) -> None:
    """A sync tool reports from its own thread."""
    end = threading.Event()

    @tool(effect="read_only")
    def work(ctx: ToolContext) -> str:
        """Work in a thread."""
        ctx.progress("half done", done=1, total=2)
        end.wait(20)
        return "worked"

    lab = await make_lab([Agent("desk", model="m", tools=[work])], script=[Reply(call("work", {}, "c1")), DONE])
    run = await lab.start("desk")
    assert (await told(run, "half done")).call_id == "c1"
    end.set()
    await run.result()


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_is_none_is_refused(number: float) -> None:
    """NaN and infinity have no JSON; the tool hears so at once."""
    ctx: ToolContext = ToolContext(
        context=None,
        run_id="r",
        agent="a",
        agent_path=("a",),
        turn=1,
        labels={},
        requested_by=None,
        tool="t",
        call_id="c",
        arguments={},
        resources=None,
        idempotency_key="k",
        attempt=1,
    )
    ctx.progress("outside a run it goes nowhere", done=1)
    with pytest.raises(ValueError, match="done must be a finite number"):
        ctx.progress("x", done=number)
