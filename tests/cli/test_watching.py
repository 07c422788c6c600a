"""`handfast watch`: a run's events in a terminal, and for programs."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

from handfast.cli import exits
from handfast.payloads.events import RequestOpened, read_event
from handfast.testing import Pause, Reply, ResponsesServer, text
from support.command_desk import ASKS, DESK, DONE, LONG
from support.commands import Cli, MakeCli, finish, said
from support.labs import MakeLab
from support.redis_server import RedisServer
from support.tmux import Tmux


async def test_a_terminal_shows_what_happens_and_asks(make_lab: MakeLab, cli: Cli) -> None:
    """In a real terminal `watch --as NAME` shows the events as they come, asks inline, and shows what follows."""
    lab = await make_lab([DESK], script=[ASKS, DONE])
    run = await lab.start("desk", "clean up, please", id=f"watched-{lab.task_queue}")
    command = [sys.executable, "-m", "handfast", "watch", run.id, "--as", "lead"]
    async with Tmux(command, cli.directory, cli.environment) as terminal:
        screen = await terminal.shows("approve? [y]es, [n]o, [e]dit, [a]nswer, [l]eave it:")
        assert "started clean up, please" in screen
        assert "waits for a person: wipe" in screen
        assert '{"target": "temp"}' in screen
        assert "all done" not in screen
        await terminal.type("y")
        screen = await terminal.shows("left with 0")
    assert "wipe decided approve by lead" in screen
    assert "wipe -> wiped temp" in screen
    assert "completed all done" in screen
    assert (await run.result()).output == "all done"


async def test_a_decision_made_elsewhere_closes_the_prompt(make_lab: MakeLab, cli: Cli) -> None:
    """While `watch` asks, somebody else decides: the prompt gives way, and the run is shown to its end."""
    lab = await make_lab([DESK], script=[ASKS, DONE])
    run = await lab.start("desk", id=f"elsewhere-{lab.task_queue}")
    command = [sys.executable, "-m", "handfast", "watch", run.id, "--as", "lead"]
    async with Tmux(command, cli.directory, cli.environment) as terminal:
        await terminal.shows("approve?")
        await run.reject(await lab.next_request(run), decided_by="other", reason="not now")
        screen = await terminal.shows("left with 0")
    assert "closed meanwhile" in screen
    assert "wipe did not run (rejected): not now" in screen


async def test_programs_read_an_event_a_line(make_lab: MakeLab, cli: Cli) -> None:
    """With --json each line is one event, written as it happens; --after goes on behind one of them."""
    lab = await make_lab([DESK], script=[ASKS, DONE])
    run = await lab.start("desk", id=f"lines-{lab.task_queue}")
    process = await cli.start("watch", run.id, "--json")
    opened = read_event(json.loads(await said(process, '"request_opened"')))
    assert isinstance(opened, RequestOpened)
    await run.approve(opened.request.id, decided_by="lead")
    rest = await finish(process)
    assert (rest.code, rest.err) == (exits.OK, "")
    events = [event async for event in run.events(opened.offset)]
    assert [read_event(json.loads(line)) for line in rest.out.splitlines()] == events
    again = await cli("watch", run.id, "--json", "--after", opened.offset)
    assert again.out == rest.out


async def test_what_cannot_be_watched_is_said(make_lab: MakeLab, cli: Cli) -> None:
    """An unknown run, an offset of another run, and --as without a terminal each end with a code and one line."""
    lab = await make_lab([DESK], script=[DONE])
    run = await lab.start("desk")
    await run.result()
    unknown, foreign, asked = await asyncio.gather(
        cli("watch", "no-such-run"), cli("watch", run.id, "--after", "other:1.0"), cli("watch", run.id, "--as", "me")
    )
    assert [each.code for each in (unknown, foreign, asked)] == [exits.NOT_FOUND, exits.BAD_INPUT, exits.BAD_INPUT]
    assert "no place in the events" in foreign.line
    assert "terminal" in asked.line
    plain = await cli("watch", run.id)
    assert plain.code == exits.OK
    assert plain.out.splitlines()[-1].endswith("completed all done")


async def test_a_terminal_shows_words_while_they_are_written(make_lab: MakeLab, cli: Cli, redis: RedisServer) -> None:
    """The first half of a slow reply stands on the screen before the second is written; both `watch` and a `start` that
    follows its run show it, and the whole reply in the end."""
    script = [Pause("half", Reply(text(LONG)), after=3), Pause("again", Reply(text(LONG)), after=3)]
    lab = await make_lab([DESK], script=script, deltas=redis.url)
    environment = {**cli.environment, "HANDFAST_DELTAS": redis.url}
    run = await lab.start("desk", "tell me", id=f"words-{lab.task_queue}", stream=True)
    async with Tmux([sys.executable, "-m", "handfast", "watch", run.id], cli.directory, environment) as terminal:
        screen = await terminal.shows(LONG[:36])
        assert LONG[40:] not in screen
        lab.model.open("half")
        screen = await terminal.shows("left with 0")
        assert f"completed {LONG}" in screen
        assert screen.count(LONG[:30]) == 2  # of the reply and the end: what stood there on the way is gone
    command = [sys.executable, "-m", "handfast", "start", "desk", "tell me", "--task-queue", lab.task_queue]
    async with Tmux(command, cli.directory, environment) as terminal:
        screen = await terminal.shows(LONG[:36])
        assert LONG[40:] not in screen
        lab.model.open("again")
        assert LONG in await terminal.shows("left with 0")
    assert [request.body["stream"] for request in lab.model.requests] == [True, True]


async def test_words_of_dev_are_seen_in_another_terminal(make_cli: MakeCli) -> None:
    """Nothing is configured: who starts a run beside `handfast dev` sees what is written, and so does who watches."""
    async with ResponsesServer([Pause("half", Reply(text(LONG)), after=3)]) as model:
        here = make_cli(None, OPENAI_API_KEY="test", OPENAI_BASE_URL=model.base_url)
        dev = await here.start("dev", "desk_agents", "--port", "0")
        await said(dev, "ready")
        command = [sys.executable, "-m", "handfast", "start", "desk", "tell me", "--id", "told"]
        async with Tmux(command, here.directory, here.environment) as terminal:
            await terminal.shows(LONG[:36])
            watch = [sys.executable, "-m", "handfast", "watch", "told"]
            async with Tmux(watch, here.directory, here.environment) as watching:
                assert LONG[40:] not in await watching.shows(LONG[:36])
                model.open("half")
                assert f"completed {LONG}" in await watching.shows("left with 0")
            assert LONG in await terminal.shows("left with 0")
        dev.send_signal(signal.SIGTERM)
        assert (await finish(dev)).code == exits.OK
        assert not (here.directory / ".handfast" / "deltas.json").exists()
