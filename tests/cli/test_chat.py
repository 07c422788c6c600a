"""`handfast chat`: a conversation in a terminal, and in a pipe."""

from __future__ import annotations

import sys
from datetime import timedelta

from handfast import Agent, Approval, Session, tool
from handfast.cli import exits
from handfast.testing import Fail, Lab, Pause, Reply, call, text
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
        screen = await terminal.shows("approve? [y]es, [n]o, [e]dit, [a]nswer, [l]eave it:")
        assert '"target": "temp"' in screen
        await terminal.type("y")
        screen = await terminal.shows("all done")
        assert "wipe decided approve by lead" in screen
        assert "wipe -> wiped temp" in screen
    lab.watch(session)
    async with Tmux(command, cli.directory, environment) as terminal:
        await terminal.type("are you there?")
        await terminal.shows("Still here.")
    assert len(await session.items()) == 8


def guarded(policy: Approval) -> Agent:
    """A desk whose tool asks as *policy* says."""

    @tool(approval=policy)
    async def wipe(target: str) -> str:
        """Delete a target."""
        return f"wiped {target}"

    return Agent("desk", instructions="Help.", model="m", tools=[wipe])


def chatting(lab: Lab, cli: Cli, by: str = "lead") -> tuple[Session, Tmux]:
    """A conversation of this lab's, and a terminal that holds it."""
    session = lab.watch(lab.hf.session(f"chat-{lab.task_queue}"))
    command = [sys.executable, "-m", "handfast", "chat", "desk", "--session", session.id, "--by", by]
    return session, Tmux(command, cli.directory, {**cli.environment, "HANDFAST_TASK_QUEUE": lab.task_queue})


async def test_a_request_of_somebody_elses_does_not_hold_up_the_conversation(make_lab: MakeLab, cli: Cli) -> None:
    """The terminal says who may decide, and takes messages meanwhile: the session answers them in turn once the request
    is decided elsewhere."""
    script = [ASKS, DONE, Reply(text("Still here."))]
    lab = await make_lab([guarded(Approval(approvers=["ann", "bob"]))], script=script)
    session, opening = chatting(lab, cli)
    async with opening as terminal:
        await terminal.type("clean up, please")
        screen = await terminal.shows("lead may not decide it; it waits for ann, bob")
        assert '"target": "temp"' in screen
        assert "approve?" not in screen
        await terminal.type("are you there?")
        request = await lab.next_request(session)
        await session.approve(request, decided_by="Ann")
        screen = await terminal.shows("Still here.")
        assert screen.index("all done") < screen.index("Still here.")
        assert "wipe decided approve by Ann" in screen


async def test_whoever_waits_for_others_may_leave(make_lab: MakeLab, cli: Cli) -> None:
    """Ctrl-D leaves while a request of somebody else's is open, also one that a former message has led to; the session
    goes on."""
    policy = Approval(approvers=["group:finance"], exclude_requester=True)
    lab = await make_lab([guarded(policy)], script=[ASKS, DONE, DONE], groups=lambda name: ["finance"])
    session = lab.hf.session(f"chat-{lab.task_queue}", agent="desk", requested_by="lead")
    turn = await session.send("clean up, please")
    session, opening = chatting(lab, cli)
    request = await lab.next_request(session)
    async with opening as terminal:
        await terminal.type("and then?")
        await terminal.shows("lead asked for it or changed it, and may not decide; it waits for group:finance")
        await terminal.leave()
        screen = await terminal.shows("left with 0")
        assert f"{session.id} goes on whenever you do" in screen
    await session.approve(request, decided_by="ann")
    assert await turn.output(timeout=timedelta(seconds=30)) == "all done"


async def test_a_person_at_the_terminal_may_edit_and_answer(make_lab: MakeLab, cli: Cli) -> None:
    """Where the request allows it other arguments are taken, and words for the agent in the output's place; what is no
    object is asked for again. What a reply says beside its calls is shown."""
    script = [
        Reply(text("Let me clean temp first."), call("wipe", {"target": "temp"}, "c1")),
        Reply(text("And now the logs."), call("wipe", {"target": "logs"}, "c2")),
        DONE,
    ]
    lab = await make_lab([DESK], script=script)
    _, opening = chatting(lab, cli)
    async with opening as terminal:
        await terminal.type("clean up, please")
        assert "Let me clean temp first." in await terminal.shows("[e]dit, [a]nswer, [l]eave it:")
        await terminal.type("e")
        await terminal.shows("arguments, as a JSON object")
        await terminal.type("[1]")
        await terminal.shows("that is no object")
        await terminal.type('{"target": "cache"}')
        await terminal.shows("wipe -> wiped cache")
        await terminal.shows("And now the logs.")
        await terminal.shows('"target": "logs"')
        await terminal.type("a")
        await terminal.shows("answer (empty leaves it):")
        await terminal.type("The logs are gone already.")
        await terminal.shows("all done")
    read = [item["output"] for item in lab.model.requests[2].body["input"] if item["type"] == "function_call_output"]
    assert read[0].endswith("wiped cache")
    assert read[1] == "The logs are gone already."


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
