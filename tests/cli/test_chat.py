"""`handfast chat`: a conversation in a terminal, and in a pipe."""

from __future__ import annotations

import sys

from handfast.cli import exits
from handfast.testing import Fail, Pause, Reply, text
from support.command_desk import ASKS, DESK, DONE, LONG
from support.commands import Cli
from support.labs import MakeLab
from support.redis_server import RedisServer
from support.tmux import Tmux


async def test_a_terminal_holds_a_conversation_and_asks_inline(make_lab: MakeLab, cli: Cli) -> None:
    """In a real terminal a message is typed and its answer read; an approval is asked for inline; and another terminal
    goes on with the same conversation."""
    lab = await make_lab([DESK], script=[Reply(text("What shall I do?")), ASKS, DONE, Reply(text("Still here."))])
    session = lab.hf.session(f"chat-{lab.task_queue}")
    command = [sys.executable, "-m", "handfast", "chat", "desk", "--session", session.id, "--by", "lead"]
    environment = {**cli.environment, "HANDFAST_TASK_QUEUE": lab.task_queue}
    async with Tmux(command, cli.directory, environment) as terminal:
        await terminal.shows("Ctrl-D leaves")
        await terminal.type("hello")
        screen = await terminal.shows("What shall I do?")
        assert "wipe" not in screen
        await terminal.type("clean up, please")
        screen = await terminal.shows("approve? [y]es, [n]o, [l]eave it:")
        assert '{"target": "temp"}' in screen
        await terminal.type("y")
        screen = await terminal.shows("all done")
        assert "wipe decided approve by lead" in screen
        assert "wipe -> wiped temp" in screen
    lab.watch(session)
    async with Tmux(command, cli.directory, environment) as terminal:
        await terminal.type("are you there?")
        await terminal.shows("Still here.")
    assert len(await session.items()) == 8


async def test_a_terminal_shows_an_answer_while_it_is_written(make_lab: MakeLab, cli: Cli, redis: RedisServer) -> None:
    """The first half of a slow answer stands on the screen before the second is written, and the whole in the end."""
    lab = await make_lab([DESK], script=[Pause("half", Reply(text(LONG)), after=3)], deltas=redis.url)
    session = lab.hf.session(f"live-{lab.task_queue}")
    command = [sys.executable, "-m", "handfast", "chat", "desk", "--session", session.id]
    environment = {**cli.environment, "HANDFAST_TASK_QUEUE": lab.task_queue, "HANDFAST_DELTAS": redis.url}
    async with Tmux(command, cli.directory, environment) as terminal:
        await terminal.shows("Ctrl-D leaves")
        await terminal.type("tell me")
        assert LONG[40:] not in await terminal.shows(LONG[:36])
        lab.model.open("half")
        await terminal.shows(LONG)
    lab.watch(session)


async def test_a_pipe_holds_a_conversation(make_lab: MakeLab, cli: Cli) -> None:
    """In a pipe each line is a message, each answer a line; a message without an answer makes the code, and the lines
    after it are answered all the same."""
    lab = await make_lab([DESK], script=[Reply(text("one")), Fail(400), Reply(text("three"))])
    session = lab.hf.session(f"pipe-{lab.task_queue}", agent="desk")
    options = ("--session", session.id, "--task-queue", lab.task_queue)
    told = await cli("chat", "desk", *options, "--close", stdin="first\n\nsecond\nthird\n")
    assert (told.code, told.out) == (exits.RUN_FAILED, "one\nthree\n")
    assert "ModelRefused" in told.line
    lab.watch(session)
    result = await session.result()
    assert result.turns == 2
    again = await cli("chat", "desk", *options, stdin="anybody?\n")
    assert again.code == exits.REFUSED
    assert "closed" in again.line
