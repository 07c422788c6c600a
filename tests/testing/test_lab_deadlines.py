"""A lab that hangs ends with the name of what hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path

import pytest

from handfast import Agent, tool
from handfast.server import EmbeddedServer
from handfast.testing import Lab, Reply, call
from handfast.testing.deadline import LabTimeoutError, within
from support.desk import DONE

AGENT = """
from handfast import Agent

desk = Agent("desk", instructions="Help.", model="m")
"""


@pytest.mark.quick
async def test_a_tool_that_never_ends_does_not_hold_up_the_lab(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tool that hears of nothing keeps its worker from stopping: the lab says which worker, and goes on."""
    begun, release = threading.Event(), threading.Event()

    @tool(effect="read_only")
    def stuck() -> str:
        """Wait for the test."""
        begun.set()
        release.wait()
        return "released"

    async with Lab([Agent("desk", tools=[stuck])], script=[Reply(call("stuck")), DONE], server=server) as lab:
        run = await lab.start("desk")
        assert await asyncio.to_thread(begun.wait, 30)
        with monkeypatch.context() as soon:
            soon.setattr("handfast.testing.lab.END_S", 1.0)  # less than the grace of the worker
            with pytest.raises(LabTimeoutError, match=f"stopping the worker of {lab.task_queue}") as caught:
                await lab.stop_worker()
        assert caught.value.seconds == 1
        assert caught.value.waiting
        release.set()
        await lab.start_worker()
        assert (await run.result()).output == "done"


async def test_a_worker_process_that_does_not_stop_is_named(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker process that takes no signal any more is named by its process id."""
    (tmp_path / "frozen_desk.py").write_text(AGENT)
    lab = Lab("frozen_desk", server=server, directory=tmp_path)
    await lab.__aenter__()
    [process] = lab.processes
    os.kill(process.pid, signal.SIGSTOP)
    monkeypatch.setattr("handfast.testing.lab.END_S", 1.0)
    try:
        with pytest.raises(LabTimeoutError, match=f"the end of worker process {process.pid} took longer than 1 s"):
            await lab.__aexit__(None, None, None)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def test_what_ends_in_time_is_returned_and_what_fails_raises() -> None:
    """A wait within its deadline is as without one: its result, its error, its cancellation."""
    assert await within(5, "a value", asyncio.sleep(0, "done")) == "done"

    async def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await within(5, "a failure", fails())
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(within(60, "never", never))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert never.cancelled()
