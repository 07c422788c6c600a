"""Scenario rows B: rejected calls."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from handfast import Agent, Rejection, RunContext, tool
from handfast.payloads.requests import DEFAULT_REJECTION
from handfast.testing import Reply, call, text
from support.desk import outputs
from support.labs import Effects, MakeLab

DONE = Reply(text("done"))


def wiper(effects: Effects, **options: Any) -> Agent:
    """An agent whose one tool is gated."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    return Agent("desk", model="m", tools=[wipe], **options)


def formatted(_context: RunContext, rejection: Rejection) -> str:
    """A formatter as users write it."""
    return f"{rejection.tool} of {rejection.arguments['target']} was refused by {rejection.decided_by}"


def raising(_context: RunContext, _rejection: Rejection) -> str:
    """A formatter with a bug."""
    raise KeyError("bug")


def answering_none(_context: RunContext, _rejection: Rejection) -> Any:
    """A formatter that forgot its return."""
    return None


def answering_number(_context: RunContext, _rejection: Rejection) -> Any:
    """A formatter that returns no text."""
    return 7


@pytest.mark.parametrize(
    ("formatter", "reason", "expected"),
    [
        pytest.param(None, None, DEFAULT_REJECTION, id="default"),
        pytest.param(formatted, None, "wipe of t was refused by lead", id="formatter"),
        pytest.param(formatted, "too early", "too early", id="message-beats-formatter"),
        pytest.param(formatted, "", "", id="empty-message-is-kept"),
        pytest.param(raising, None, DEFAULT_REJECTION, id="formatter-raises"),
        pytest.param(answering_none, None, DEFAULT_REJECTION, id="formatter-returns-none"),
        pytest.param(answering_number, None, DEFAULT_REJECTION, id="formatter-returns-a-number"),
    ],
)
async def test_what_the_model_reads_of_a_rejection(
    make_lab: MakeLab, effects: Effects, formatter: Any, reason: str | None, expected: str
) -> None:
    """B1: a person's words win, then the agent's formatter, then the default text; a broken formatter costs nothing."""
    agent = wiper(effects, rejection_text=formatter)
    lab = await make_lab([agent], script=[Reply(call("wipe", {"target": "t"}, "c1")), DONE])
    run = await lab.start("desk")
    await run.reject(await lab.next_request(run), decided_by="lead", reason=reason)
    await run.result()
    assert outputs(lab) == [("c1", expected)]
    assert effects == []


async def test_a_rejected_call_never_runs_and_answers_once(make_lab: MakeLab, effects: Effects) -> None:
    """B2: rejected twice and across restarts, the tool never runs and its output reaches the model exactly once."""
    lab = await make_lab([wiper(effects)], script=[Reply(call("wipe", {"target": "t"}, "c1")), DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.stop_worker()
    handle = lab.client.get_workflow_handle(run.id)
    for _ in range(2):
        await handle.signal("reject", {"id": request.id, "reason": "no", "decided_by": "lead"})
    await lab.start_worker()
    await run.result()
    assert outputs(lab) == [("c1", "no")]
    assert effects == []


async def test_the_exact_message_survives_a_restart(make_lab: MakeLab, effects: Effects) -> None:
    """B3: a message with quotes, line breaks and other scripts reaches the model as it was written."""
    message = 'Bitte nicht: "temp"\n\t— 先にバックアップ 🛑'
    lab = await make_lab([wiper(effects)], script=[Reply(call("wipe", {"target": "t"}, "c1")), DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.stop_worker()
    await lab.client.get_workflow_handle(run.id).signal("reject", {"id": request.id, "reason": message})
    await lab.start_worker()
    await run.result()
    assert outputs(lab) == [("c1", message)]


async def test_a_rejection_is_not_sticky(make_lab: MakeLab, effects: Effects) -> None:
    """B4: when the model makes the call again it asks again, and may then be approved."""
    again = [Reply(call("wipe", {"target": "t"}, f"c{n}")) for n in (1, 2)]
    lab = await make_lab([wiper(effects)], script=[*again, DONE])
    run = await lab.start("desk")
    first = await lab.next_request(run)
    await run.reject(first, decided_by="lead")
    second = await lab.next_request(run)
    assert second.id != first.id
    await run.approve(second, decided_by="lead")
    await run.result()
    assert effects == ["t"]


async def test_a_formatter_that_blocks_holds_up_nothing_else(make_lab: MakeLab, effects: Effects) -> None:
    """A plain `rejection_text` that waits runs in a thread: the worker's event loop goes on meanwhile."""
    entered, go = threading.Event(), threading.Event()

    def blocking(_context: RunContext, _rejection: Rejection) -> str:
        entered.set()
        return "worded" if go.wait(5) else "the event loop stood still"

    agent = wiper(effects, rejection_text=blocking)
    lab = await make_lab([agent], script=[Reply(call("wipe", {"target": "t"}, "c1")), DONE])
    run = await lab.start("desk")
    await run.reject(await lab.next_request(run), decided_by="lead")
    assert await asyncio.to_thread(entered.wait, 10)
    go.set()
    await run.result()
    assert outputs(lab) == [("c1", "worded")]


async def test_a_formatter_that_hangs_is_asked_once(
    make_lab: MakeLab, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `rejection_text` that never answers is left behind after its time, and the default text is used."""
    monkeypatch.setattr("handfast.activities.evaluate.decisions.WORDING_S", 0.2, raising=False)
    asked: list[str] = []

    async def hanging(_context: RunContext, rejection: Rejection) -> str:
        asked.append(rejection.tool)
        await asyncio.Event().wait()
        return "never"

    agent = wiper(effects, rejection_text=hanging)
    lab = await make_lab([agent], script=[Reply(call("wipe", {"target": "t"}, "c1")), DONE])
    run = await lab.start("desk")
    await run.reject(await lab.next_request(run), decided_by="lead")
    async with asyncio.timeout(20):
        await run.result()
    assert outputs(lab) == [("c1", DEFAULT_REJECTION)]
    assert asked == ["wipe"]
