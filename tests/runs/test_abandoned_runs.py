"""Fault row XJ6: runs that wait and are never decided cost the worker no memory beyond its cache."""

from __future__ import annotations

import gc

import psutil

from handfast import Agent, tool
from handfast.testing import Lab, Reply, Script, call
from support.labs import MakeLab

CACHE = 10
WARM = 40
MORE = 80
GROWTH_BYTES = 20_000_000


@tool(approval=True)
async def wipe(target: str) -> str:
    """Delete a target."""
    return "wiped"


async def abandoned(lab: Lab, count: int) -> int:
    """Start so many runs that wait for ever; return the memory of this process, whose worker has seen them all."""
    for started in await lab.hf.start_many([{"agent": "desk", "input": "go"}] * count):
        assert started.run is not None
        await lab.next_request(lab.watch(started.run), 100)
    gc.collect()
    return int(psutil.Process().memory_info().rss)


async def test_abandoned_waits_leave_the_worker_as_it_was(make_lab: MakeLab) -> None:
    """XJ6: a worker whose cache holds 10 runs has seen 40 that nobody decides, and sees 80 more: its memory grows by
    less than 20 MB for these, and it still answers for the first one. (120 runs of the row's 5,000, for time.)"""
    script = Script.of(lambda request: Reply(call("wipe", {"target": "t"})))
    desk = Agent("desk", model="m", tools=[wipe])
    lab = await make_lab([desk], script=script, max_cached_workflows=CACHE, replay=False)
    first = await lab.start("desk")
    request = await lab.next_request(first)
    before = await abandoned(lab, WARM)
    grown = await abandoned(lab, MORE) - before
    print(f"{MORE} more waits: {grown / 1e6:.1f} MB")  # noqa: T201
    assert grown < GROWTH_BYTES
    assert (await first.status()).pending == 1
    assert (await first.reject(request, decided_by="lead")).state in ("recorded", "stored")
