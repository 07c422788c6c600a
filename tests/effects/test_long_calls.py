"""Calls that take longer than any heartbeat timer: of the server, and of the SDK's own core."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from handfast import Agent, tool
from handfast.testing import Delay, Reply, call, text
from support.desk import DONE, outputs
from support.labs import Effects, MakeLab

LONG_S = 10
"""Longer than the heartbeat timeout of 3 s and the five seconds that the core adds."""


def agent(effects: Effects) -> Agent:
    """One tool for each way to take long."""

    @tool(effect="at_most_once")
    async def wait_async() -> str:
        """Wait in a coroutine."""
        effects.append("async")
        await asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, LONG_S)
        return "async done"

    @tool(effect="at_most_once")
    def wait_sync() -> str:
        """Wait in a thread."""
        effects.append("sync")
        threading.Event().wait(LONG_S)
        return "sync done"

    @tool(effect="read_only")
    async def read_slowly() -> str:
        """Read slowly."""
        effects.append("read")
        await asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, LONG_S)
        return "read done"

    return Agent("slow", model="m", tools=[wait_async, wait_sync, read_slowly])


@pytest.mark.parametrize("feed", ["thread", "loop"])
async def test_a_long_tool_runs_once_and_its_output_counts(
    make_lab: MakeLab, effects: Effects, feed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tools of ten seconds, async, sync and retryable, run once each, and the model reads what they returned."""
    if feed == "loop":
        monkeypatch.setattr("handfast.activities.runtime.runtime.core_feed", lambda _worker: None)
    calls = [call("wait_async", {}, "c1"), call("wait_sync", {}, "c2"), call("read_slowly", {}, "c3")]
    lab = await make_lab([agent(effects)], script=[Reply(*calls), DONE])
    run = await lab.start("slow")
    await run.result()
    assert outputs(lab) == [("c1", "async done"), ("c2", "sync done"), ("c3", "read done")]
    assert sorted(effects) == ["async", "read", "sync"]


async def test_a_tool_that_blocks_the_loop_for_long_runs_once(make_lab: MakeLab, effects: Effects) -> None:
    """A tool that blocks its event loop beyond every timer still ends as it should, once."""

    @tool(approval=True)
    async def block() -> str:
        """Block the loop."""
        effects.append("begun")
        threading.Event().wait(LONG_S)
        return "finished"

    lab = await make_lab([Agent("desk", model="m", tools=[block])], script=[Reply(call("block", {}, "c1")), DONE])
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    await run.result()
    assert effects == ["begun"]
    assert outputs(lab) == [("c1", "finished")]


async def test_a_slow_model_is_asked_once(make_lab: MakeLab) -> None:
    """A reply that takes 22 seconds, longer than heartbeat timeout and core's timer together, is paid for once."""
    script: list[Any] = [Delay(22, then=Reply(text("thought about it")))]
    lab = await make_lab([Agent("desk", model="m")], script=script)
    run = await lab.start("desk")
    assert (await run.result()).output == "thought about it"
    assert len(lab.model.requests) == 1
