"""Fault rows XM4 and XJ6: many runs that wait at the same time."""

from __future__ import annotations

import asyncio
import math
import time

from handfast import Agent, OpenRequest, tool
from handfast.testing import Lab, Reply, Script, call, text
from handfast.testing.script import RecordedRequest, Step
from support.labs import Effects, MakeLab
from support.lists import eventually

RUNS = 75
AT_ONCE = 20
EACH = 250
LISTED = 2000
WAIT_S = 100.0


def desk(effects: Effects) -> Agent:
    """An agent with one gated tool."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    return Agent("desk", model="m", tools=[wipe])


def asking(request: RecordedRequest) -> Step:
    """Ask about as many calls as the run's message says."""
    if request.turns:
        return Reply(text("done"))
    name, count = request.first_user_text.split()
    return Reply(*(call("wipe", {"target": f"{name}/{n}"}, f"c{n}") for n in range(int(count))))


async def waiting(lab: Lab, runs: int, each: int) -> dict[str, str]:
    """Start so many runs, and wait until all of them wait for people; return their common label."""
    labels = {"batch": lab.task_queue}
    items = [{"agent": "desk", "input": f"{n} {each}", "labels": labels} for n in range(runs)]
    assert all(started.run is not None for started in await lab.hf.start_many(items))

    async def all_listed() -> bool:
        return (
            sum(each.pending for each in await lab.hf.runs(label=f"batch={lab.task_queue}", limit=runs)) == runs * each
        )

    await eventually(all_listed, WAIT_S)
    return labels


async def test_many_waiting_runs_are_decided(make_lab: MakeLab, effects: Effects) -> None:
    """XM4: 75 runs wait and are approved twenty at a time: each decision is recorded, and each effect takes place
    once."""
    lab = await make_lab([desk(effects)], script=Script.of(asking), replay=False)
    labels = await waiting(lab, RUNS, 1)
    requests = await lab.hf.requests(labels=labels)
    took: list[float] = []
    room = asyncio.Semaphore(AT_ONCE)

    async def approve(asked: OpenRequest) -> str:
        async with room:
            began = time.monotonic()
            receipt = await lab.hf.run(asked.run).approve(asked.request, decided_by="lead")
            took.append(time.monotonic() - began)
        return receipt.state

    states = await asyncio.gather(*map(approve, requests))
    assert len(states) == RUNS  # "stored", where a loaded machine took more than five seconds for one, counts as well
    print(f"p95 of {RUNS} decisions, {AT_ONCE} at a time: {sorted(took)[math.ceil(0.95 * RUNS) - 1]:.3f} s")  # noqa: T201

    async def all_ran() -> bool:
        return len(effects) >= RUNS

    await eventually(all_ran, WAIT_S)
    assert sorted(effects) == sorted(f"{n}/0" for n in range(RUNS))


async def test_two_thousand_requests_are_listed_without_workers(make_lab: MakeLab, effects: Effects) -> None:
    """XM4: the 2,000 requests of eight runs are listed while no worker is there: no run is asked for them."""
    lab = await make_lab([desk(effects)], script=Script.of(asking), replay=False)
    labels = await waiting(lab, LISTED // EACH, EACH)
    await lab.stop_worker()
    began = time.monotonic()
    listed = await lab.hf.requests(labels=labels)
    took = time.monotonic() - began
    print(f"{len(listed)} requests listed in {took:.2f} s")  # noqa: T201
    assert len({each.request.id for each in listed}) == LISTED
    assert effects == []
    assert took < 5.0
