"""Hold a session of 3,000 turns that goes on in a fresh history while an approval is open. `make bench` runs it.

Every message is answered by ten turns. In the middle the agent asks a person; the session goes on in a fresh history
while the request is open, and then it is decided: by the same id, and once.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track

from handfast.client.session import Session
from handfast.history.chain import chain_of
from handfast.payloads.requests import Request
from handfast.testing import Lab, Reply, Script, call, text
from handfast.testing.script import RecordedRequest

HERE = Path(__file__).parent
TURNS_PER_MESSAGE = 10
SIGNED = "page 7 is signed"


def model(turns: int) -> Script:
    """Nine pages, then an answer; the message in the middle has a page signed first."""
    replies = itertools.count()
    middle = turns // TURNS_PER_MESSAGE // 2 * TURNS_PER_MESSAGE

    def choose(_: RecordedRequest) -> Reply:
        number = next(replies)
        if number == middle:
            return Reply(call("sign", {"page": 7}))
        if number % TURNS_PER_MESSAGE == TURNS_PER_MESSAGE - 1:
            return Reply(text(f"answer {number // TURNS_PER_MESSAGE}"))
        return Reply(call("read_page", {"number": number}))

    return Script.of(choose)


async def cross(lab: Lab, session: Session) -> None:
    """Let a session that waits go on in a fresh history: signals that are refused make its history long."""
    handle = lab.client.get_workflow_handle(session.id)
    before = (await handle.describe()).run_id
    async for run_id, event in chain_of(lab.client, session.id, before, wait=True):
        if run_id != before:
            return
        if event.HasField("workflow_task_completed_event_attributes"):
            await handle.signal("approve", "no-such-request")


async def decide(lab: Lab, session: Session) -> Request:
    """Let the open request go over a crossing, then approve it twice."""
    [opened] = await lab.open_requests(session, 1)
    await cross(lab, session)
    [kept] = await session.pending()
    if kept != opened:
        raise AssertionError(f"{opened.id} is another request after the crossing: {kept.id}")
    receipts = [await session.approve(kept, decided_by="lead", decision_id="once") for _ in range(2)]
    if receipts[0].at != receipts[1].at:
        raise AssertionError("the same decision was counted twice")
    return opened


async def main(turns: int) -> None:
    """Hold the session, and say what it cost."""
    console, messages = Console(), turns // TURNS_PER_MESSAGE
    with tempfile.TemporaryDirectory() as artifacts:
        environment = {"HANDFAST_ARTIFACTS": artifacts}
        async with Lab("reader", script=model(turns), directory=HERE, environment=environment, replay=False) as lab:
            session = lab.hf.session("long", agent="skimmer")
            began = time.monotonic()
            request: Request | None = None
            for number in track(range(messages), description=f"{turns:,} turns", console=console):
                turn = await session.send(f"message {number}", message_id=str(number))
                if number == 0:
                    lab.watch(lab.hf.run(session.id))
                if number == messages // 2:
                    request = await decide(lab, session)
                if (said := await turn.output()) != f"answer {number}":
                    raise AssertionError(f"message {number} was answered by {said!r}")
            took_s = time.monotonic() - began
            histories = await lab.histories(lab.hf.run(session.id))
            events = [event async for event in session.events(wait=False)]
            effects = [each for each in events if getattr(each, "output", None) == SIGNED]
    sizes = [event.ByteSize() for history in histories for event in history.events]
    console.print(f"{turns:,} turns for {messages:,} messages in {len(histories)} histories")
    console.print(
        f"{sum(sizes) / turns / 1000:.2f} kB and {len(sizes) / turns:.1f} events a turn, "
        f"{took_s / turns * 1000:.0f} ms a turn"
    )
    console.print(f"request {request.id if request else None}: the same after the crossing, {len(effects)} effect")
    if len(effects) != 1 or lab.model.violations:
        raise AssertionError(f"{len(effects)} effects, violations: {lab.model.violations[:1]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("turns", nargs="?", type=int, default=3000)
    asyncio.run(main(parser.parse_args().turns))
