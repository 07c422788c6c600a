"""Fault row XM1: a run that asks far more than people can answer."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from handfast import Agent, Approval, tool
from handfast.errors import DefinitionError
from handfast.testing import Reply, Script, call, text
from handfast.testing.script import RecordedRequest, Step
from support.evidence import failed_tasks, logged
from support.labs import Effects, MakeLab

BOUND = 256
CLERKS = 4
EACH = 250


def office(effects: Effects) -> Agent:
    """An agent that lets four clerks work side by side."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    clerk = Agent("clerk", description="Wipes.", model="m", tools=[wipe])
    return Agent("office", model="m", tools=[clerk.as_tool()])


def asking(count: int) -> Script:
    """Each clerk asks about that many calls in one reply; each loop ends with the reply after its first."""

    def step(request: RecordedRequest) -> Step:
        if request.turns:
            return Reply(text("done"))
        if request.tool_names == ["clerk"]:
            calls = [call("clerk", {"input": f"clerk {n}"}, f"o{n}") for n in range(CLERKS)]
        else:
            who = request.first_user_text
            calls = [call("wipe", {"target": f"{who}/{n}"}, f"c{n}") for n in range(count)]
        return Reply(*calls)

    return Script.of(step)


async def test_a_run_that_asks_a_thousand_times_pauses_and_says_so(make_lab: MakeLab, effects: Effects) -> None:
    """XM1: of a thousand calls that four nested loops want to ask about, 256 are asked about; the status says why the
    rest waits, another run is decided meanwhile, and the run can be ended."""
    lab = await make_lab([office(effects)], script=asking(EACH))
    flood = await lab.start("office", "flood")
    assert len(await lab.open_requests(flood, BOUND)) == BOUND
    async with asyncio.timeout(30):
        while f"{CLERKS * EACH - BOUND} more calls" not in ((await flood.status()).problem or ""):
            await flood.pending()
    status = await flood.status()
    assert (status.status, status.pending) == ("waiting", BOUND)
    assert status.problem is not None
    assert f"{BOUND} requests wait for a person" in status.problem
    assert f"{CLERKS * EACH - BOUND} more calls" in status.problem
    calm = lab.watch(await lab.hf.start("clerk", "calm"))
    for request in await lab.open_requests(calm, EACH):
        await calm.reject(request, decided_by="lead")
        break
    assert await flood.cancel("far too many")
    assert await calm.cancel()
    ended = await flood.status()
    assert (ended.pending, ended.problem) == (0, None)
    assert (effects, await failed_tasks(lab, flood)) == ([], 0)


async def test_what_was_held_back_is_asked_about_in_turn(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XM1: with room for two requests each decided one lets the next call ask, across nested loops and a restart,
    until every call has run once."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    clerk = Agent("clerk", description="Wipes.", model="m", tools=[wipe], max_open_requests=2)
    office = Agent("office", model="m", tools=[clerk.as_tool()])
    lab = await make_lab([office], script=asking(3), max_cached_workflows=cache)
    run = await lab.start("office", "go")
    decided = 0
    async for request in run.requests():
        assert len(await run.pending()) <= 2
        await run.approve(request, decided_by="lead")
        decided += 1
        if decided == 5:
            await lab.replace_worker()
    assert (await run.result()).output == "done"
    assert (decided, len(effects), len(set(effects))) == (12, 12, 12)
    assert lab.model.violations == []


async def test_what_expires_makes_room_too(make_lab: MakeLab, effects: Effects) -> None:
    """XM1: with room for one request, the expiry of one loop's lets the other loop ask; nobody decides, and the run
    ends."""

    @tool(approval=Approval(deadline=timedelta(milliseconds=300)))
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    clerk = Agent("clerk", description="Wipes.", model="m", tools=[wipe], max_open_requests=1)
    office = Agent("office", model="m", tools=[clerk.as_tool()])
    lab = await make_lab([office], script=asking(1))
    run = await lab.start("office", "go")
    assert (await run.result(timeout=timedelta(seconds=60))).output == "done"
    assert effects == []
    assert len(await logged(lab, run, "expired", CLERKS)) == CLERKS


@pytest.mark.parametrize("most", [0, 501, True, 2.5, None])
def test_a_bound_that_cannot_hold_is_refused(most: object) -> None:
    """XM1: the bound is a number that the server's own limits leave room for."""
    with pytest.raises(DefinitionError, match="max_open_requests must be an integer from 1 to 500"):
        Agent("desk", max_open_requests=most)  # type: ignore[arg-type] # that is the point
