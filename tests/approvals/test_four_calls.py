"""The mixes of four parallel calls: whatever becomes of each, the model gets one output per call, in its order."""

from __future__ import annotations

import asyncio
import itertools
import random
from datetime import timedelta
from typing import Any, Final

from handfast import Agent, Approval, Run, tool
from handfast.testing import Lab, Reply, Script, call, text
from handfast.testing.script import RecordedRequest, Step
from support.labs import MakeLab

FATES: Final = ("approve", "reject", "answer", "free", "expire")
AT_ONCE: Final = 24


def mixes() -> list[tuple[str, ...]]:
    """All 70 mixes of four fates, each with its calls in an order of its own."""
    every = itertools.combinations_with_replacement(FATES, 4)
    return [tuple(random.Random(" ".join(mix)).sample(mix, 4)) for mix in every]


MIXES: Final = mixes()


@tool(approval=True)
async def gated(number: int, fate: str) -> str:
    """Wait for a person."""
    return f"{number}: {fate} ran"


@tool
async def free(number: int, fate: str) -> str:
    """Wait for nobody."""
    return f"{number}: {fate} ran"


@tool(approval=Approval(deadline=timedelta(milliseconds=200)))
async def expiring(number: int, fate: str) -> str:
    """Wait for a person who never comes."""
    return f"{number}: {fate} ran"


TOOLS: Final = {"free": "free", "expire": "expiring"}
DECIDED: Final = {"approve", "reject", "answer"}


def expected(number: int, fate: str) -> str:
    """What the model reads for a call."""
    return {
        "approve": f"{number}: approve ran",
        "free": f"{number}: free ran",
        "reject": f"no to {number}",
        "answer": f"{number} by hand",
        "expire": "Nobody decided in time.",
    }[fate]


def play(request: RecordedRequest) -> Step:
    """The first request of a run makes the calls that its message names, the second one is the last."""
    if request.tool_outputs:
        return Reply(text("done"))
    fates = request.first_user_text.split()
    calls = ((TOOLS.get(fate, "gated"), {"number": number, "fate": fate}) for number, fate in enumerate(fates))
    return Reply(*(call(name, arguments, f"c{number}") for number, (name, arguments) in enumerate(calls)))


async def decide(lab: Lab, run: Run, mix: tuple[str, ...]) -> None:
    """Decide what is to be decided, in an order of its own for each mix."""
    numbers = [number for number, fate in enumerate(mix) if fate in DECIDED]
    random.Random(" ".join(mix)).shuffle(numbers)
    if not numbers:
        return
    waiting = len([fate for fate in mix if fate in (*DECIDED, "expire")])
    pending: dict[int, Any] = {}
    async for request in run.requests():
        assert request.arguments is not None
        pending[request.arguments["number"]] = request
        if len(pending) == waiting:
            break
    for number in numbers:
        match mix[number]:
            case "approve":
                await run.approve(pending[number], decided_by="lead")
            case "reject":
                await run.reject(pending[number], decided_by="lead", reason=f"no to {number}")
            case _:
                await run.answer(pending[number], f"{number} by hand", decided_by="lead")


async def test_every_mix_of_four_calls_gives_one_output_each_in_order(make_lab: MakeLab) -> None:
    """A7: of four calls each is approved, rejected, answered, free or expires: in every mix, decided in any order, the
    next request carries exactly one output per call, in the model's order."""
    agent = Agent("desk", model="m", tools=[gated, free, expiring])
    lab = await make_lab([agent], script=Script.of(play))
    room = asyncio.Semaphore(AT_ONCE)

    async def one(mix: tuple[str, ...]) -> None:
        async with room:
            run = await lab.start("desk", " ".join(mix))
            await decide(lab, run, mix)
            assert (await run.result()).output == "done"

    async with asyncio.TaskGroup() as group:
        for mix in MIXES:
            group.create_task(one(mix))
    assert lab.model.violations == []
    second = {each.first_user_text: each for each in lab.model.requests if each.tool_outputs}
    assert len(second) == len(MIXES)
    assert len(lab.model.requests) == 2 * len(MIXES)
    for mix in MIXES:
        items = second[" ".join(mix)].body["input"]
        outputs = [(item["call_id"], item["output"]) for item in items if item["type"] == "function_call_output"]
        assert outputs == [(f"c{number}", expected(number, fate)) for number, fate in enumerate(mix)]
