"""Saying something to a run, and stopping it, from the command line."""

from __future__ import annotations

import asyncio

from handfast.cli import exits
from handfast.testing import Hang
from support.command_desk import ASKS, DESK, DONE
from support.commands import Cli
from support.labs import MakeLab


async def test_send_reaches_the_model_once(make_lab: MakeLab, cli: Cli) -> None:
    """`send` says that the message waits; with the same --id it says so once more, with other text it leaves with 4."""
    lab = await make_lab([DESK], script=[ASKS, DONE])
    run = await lab.start("desk", id="cli-send")
    request = await lab.next_request(run)
    sent = await cli("send", run.id, "be quick", "--id", "m1", "--by", "ana")
    assert sent.code == exits.OK
    assert sent.out == "cli-send: message m1 is read before the next model call\n"
    again, other, empty = await asyncio.gather(
        cli("send", run.id, "be quick", "--id", "m1", "--json"),
        cli("send", run.id, "be slow", "--id", "m1"),
        cli("send", run.id, " "),
    )
    assert (again.document["receipt"]["state"], again.document["receipt"]["duplicate"]) == ("queued", True)
    assert (other.code, empty.code) == (exits.REFUSED, exits.BAD_INPUT)
    assert "used before with other content" in other.line
    await run.approve(request, decided_by="lead")
    await run.result()
    assert str(lab.model.requests[-1].body).count("be quick") == 1
    late = await cli("send", run.id, "too late")
    assert late.code == exits.REFUSED
    assert "has ended" in late.line


async def test_send_now_and_stop(make_lab: MakeLab, cli: Cli) -> None:
    """`send --now` makes the call under way again; `stop`, as `cancel --after-turn`, ends the run after its turn."""
    lab = await make_lab([DESK], script=[Hang(), ASKS])
    run = await lab.start("desk", id="cli-stop")
    await lab.model.wait_for_request(1)
    sent = await cli("send", run.id, "wipe it", "--now", "--id", "m1")
    assert sent.out == "cli-stop: the model is called again with message m1\n"
    request = await lab.next_request(run)
    stopped = await cli("cancel", run.id, "--after-turn", "--reason", "enough", "--json")
    assert stopped.document == {"run": run.id, "stop_requested": True, "reason": "enough"}
    both = await cli("cancel", run.id, "--after-turn", "--call", "c1")
    assert both.code == exits.BAD_INPUT
    await run.approve(request, decided_by="lead")
    assert (await run.result()).stopped == "enough"
    assert (await cli("stop", run.id)).code == exits.REFUSED


async def test_send_without_a_worker_is_kept(make_lab: MakeLab, cli: Cli) -> None:
    """Where no worker answers, `send` leaves with 9 and names the message, which is read when a worker returns."""
    lab = await make_lab([DESK], script=[ASKS, DONE])
    run = await lab.start("desk", id="cli-kept")
    request = await lab.next_request(run)
    await lab.stop_worker()
    sent = await cli("send", run.id, "be quick", "--id", "m1")
    assert sent.code == exits.UNCONFIRMED
    assert sent.line.startswith("no worker answered: the server keeps message m1")
    await lab.start_worker()
    await run.approve(request, decided_by="lead")
    await run.result()
    assert "be quick" in str(lab.model.requests[-1].body)
