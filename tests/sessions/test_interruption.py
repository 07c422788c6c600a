"""Scenario row L5 where more than the model call is at stake: what was shown, and what the provider keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal

import pytest

from handfast import Agent, InProcessDeltas, Run, tool
from handfast.client.merge import Item
from handfast.payloads.deltas import Delta, DeltasDiscarded
from handfast.payloads.events import MessageSent
from handfast.testing import Gate, Hang, Lab, Pause, Reply, call, text
from support.labs import MakeLab

LONG = "Seventeen words, so that the scripted server cuts them into a few pieces of text that follow each other."


@tool(effect="read_only")
async def look(check: str) -> str:
    """Look at something."""
    return f"{check} is fine"


DESK = Agent("desk", model="m", tools=[look])


async def responses(lab: Lab, count: int) -> None:
    """Wait until the model was asked for that many responses, beside what else the provider is asked for."""
    async with asyncio.timeout(30):
        while len(lab.model.created) < count:
            await lab.model.wait_for_request(len(lab.model.requests) + 1)


def streamed(run: Run) -> aclosing[AsyncGenerator[Item]]:
    """A stream that is closed as soon as it is left."""
    return aclosing(run.stream())


async def test_what_was_shown_of_an_interrupted_reply_is_void(make_lab: MakeLab) -> None:
    """L5: who watches the words is told that those of the interrupted call are void, before the next ones come."""
    script = [Pause("never", Reply(text(LONG)), after=2), Reply(text("at once"))]
    lab = await make_lab([DESK], script=script, deltas=InProcessDeltas())
    run = await lab.start("desk", stream=True)
    shown: list[str] = []
    async with asyncio.timeout(30), streamed(run) as items:
        async for item in items:
            if isinstance(item, Delta):
                if not shown:
                    await run.send("stop that", when="now")
                shown.append(item.text)
            elif isinstance(item, DeltasDiscarded):
                shown.append("void")
            elif isinstance(item, MessageSent):
                shown.append("sent")
    assert shown.count("void") == 1
    void = shown.index("void")
    assert LONG.startswith("".join(word for word in shown[:void] if word != "sent"))
    assert "".join(shown[void + 1 :]) in ("at once", "sentat once")
    assert (await run.result()).turns == 1
    assert lab.model.violations == []


@pytest.mark.parametrize("history", ["chain", "conversation"])
async def test_an_interrupted_call_leaves_nothing_with_the_provider(
    make_lab: MakeLab, cache: int, history: Literal["chain", "conversation"]
) -> None:
    """L5: where the provider keeps the conversation, the call that is made again sends what is new, once."""
    script = [
        Reply(call("look", {"check": "fans"}, "c1")),
        Hang(),
        Gate("again", Reply(text("done"))),
        Reply(text("yes")),
    ]
    lab = await make_lab([DESK], script=script, max_cached_workflows=cache)
    run = await lab.start("desk", "go", history=history)
    await responses(lab, 2)
    assert (await run.send("be quick", when="now")).interrupts
    await responses(lab, 3)
    await run.send("sure?")
    lab.model.open("again")
    assert (await run.result()).output == "yes"
    sent = [[item["type"] for item in request.body["input"]] for request in lab.model.created[2:]]
    assert sent == [["function_call_output", "message"], ["message"]]
    assert lab.model.violations == []
