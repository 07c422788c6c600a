"""Talk to an agent in a session: a line is a message, its answer follows; requests are asked about in between."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.text import Text

from handfast.cli import exits
from handfast.cli.asker import Asker, GaveWayError, line_unless, read_line
from handfast.cli.event_lines import line_of
from handfast.cli.options import Where
from handfast.cli.output import json_text, say, visible, warn
from handfast.cli.place import handfast
from handfast.cli.terminal import console
from handfast.cli.watch import Watcher, follow_request
from handfast.client.merge import Item
from handfast.client.session import Session
from handfast.client.turn import Turn
from handfast.errors import RefusalError
from handfast.payloads.events import ModelReplied, RunEvent
from handfast.payloads.json_profile import JsonValue
from handfast.payloads.requests import Request

SHOWN: Final = frozenset(
    {
        *("handoff", "tool_called", "tool_output", "tool_failed", "tool_cancelled", "tool_not_run"),
        *("request_decided", "request_expired", "agent_started", "agent_finished", "model_failed"),
    }
)
"""Events of a turn that are shown on its way; the answer itself follows."""


@dataclass(frozen=True)
class Talking:
    """The options of a conversation.

    Attributes:
        by: The person who talks and decides here: a claimed name.
        close: The session is closed when the input ends.
    """

    agent: str
    session: str
    by: str
    close: bool


PROMPT: Final = Text("> ", style="bold")


async def chat(where: Where, given: Talking, task_queue: str) -> int:
    """Take one message a line until the input ends.

    Raises:
        RunExistsError: The session's id is that of a run.
        SessionClosedError: The session has ended.
    """
    hf = await handfast(where, task_queue)
    person = sys.stdin.isatty() and sys.stderr.isatty()
    session = hf.session(given.session, agent=given.agent, stream=person)
    if person:
        code = await Conversation(session, console(stderr=True), given).hold()
    else:
        code = await _pipe(session, given.by)
    if given.close:
        await session.close(by=given.by)
    return code


async def _pipe(session: Session, by: str) -> int:
    """Answer each line of the input before the next is read.

    Returns:
        `exits.RUN_FAILED` where a message had no answer; those after it are answered all the same.
    """
    code = exits.OK
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip():
            turn = await session.send(line.strip(), by=by)
            _warn_if_stored(turn)
            if not await _answered(turn):
                code = exits.RUN_FAILED
    return code


async def _answered(turn: Turn) -> bool:
    """Print the answer of a message; say what went wrong where there is none."""
    result = await turn.result()
    if result.failure is not None:
        warn(f"{result.failure.type}: {result.failure.message}")
        return False
    say(_shown(result.output))
    return True


def _warn_if_stored(turn: Turn) -> None:
    if turn.receipt is not None and turn.receipt.state == "stored":
        warn("no worker answers; the message is kept until one returns")


class PersonLeftError(Exception):
    """The person at the terminal has pressed Ctrl-D."""


class OpenRequests:
    """Keeps which requests of a session are open, whichever message they came of.

    Attributes:
        pending: The open requests, by id.
        changed: Is set when they have changed.
    """

    def __init__(self, session: Session) -> None:
        self.pending: dict[str, Request] = {}
        self.changed = asyncio.Event()
        self._session = session
        self._reading: asyncio.Task[None] | None = None

    def start(self, turn: Turn) -> None:
        """Follow them, from the first message on."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(turn.begin))

    async def stop(self) -> None:
        """Follow them no longer."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)  # who reads the turn says what went wrong

    async def _read(self, begin: str | None) -> None:
        async with aclosing(self._session.events(begin, wait=False)) as past:
            async for event in past:  # what has been decided since must not be asked about
                begin = event.offset
        self.pending.update({request.id: request for request in await self._session.pending()})
        self.changed.set()
        async with aclosing(self._session.events(begin)) as coming:
            async for event in coming:
                follow_request(self.pending, event)
                self.changed.set()


class Conversation:
    """A conversation at a terminal: messages and answers in turn, with requests asked about in between.

    While an answer waits for somebody else, further messages are taken: the session answers them in turns of their own.
    """

    def __init__(self, session: Session, out: Console, given: Talking) -> None:
        """Hold *session* on *out*."""
        self._session = session
        self._out = out
        self._given = given
        self._turns: deque[Turn] = deque()
        self._requests = OpenRequests(session)
        self._asker = Asker(session, out, given.by)

    async def hold(self) -> int:
        """Go on until the person leaves."""
        self._note(f"session {self._given.session}; an empty line is none, Ctrl-D leaves")
        try:
            while True:
                if self._turns:
                    await self._follow(self._turns[0])
                else:
                    self._out.print(PROMPT, end="")
                    await self.take(await read_line())
        except PersonLeftError:
            pass
        finally:
            await self._requests.stop()
        if not self._given.close:
            self._out.print()
            self._note(f"{self._given.session} goes on whenever you do")
        return exits.OK

    async def take(self, line: str | None) -> None:
        """Send what was typed; what a session refuses now it may take later.

        Raises:
            PersonLeftError: The input has ended.
        """
        if line is None:
            raise PersonLeftError
        if line.strip():
            try:
                turn = await self._session.send(line.strip(), by=self._given.by)
            except RefusalError as error:
                warn(str(error))
                return
            _warn_if_stored(turn)
            self._turns.append(turn)
            self._requests.start(turn)

    async def _follow(self, turn: Turn) -> None:
        watcher = TurnWatcher(
            self._session, turn, self._out, requests=self._requests, asker=self._asker, take=self.take
        )
        await watcher.watch(None)
        await _answered(turn)
        self._turns.popleft()

    def _note(self, line: str) -> None:
        self._out.print(Text(line, style="dim"), soft_wrap=True)


class TurnWatcher(Watcher):
    """Shows what happens for one message, asks about requests, and takes messages while they wait for others."""

    def __init__(
        self,
        session: Session,
        turn: Turn,
        out: Console,
        *,
        requests: OpenRequests,
        asker: Asker,
        take: Callable[[str | None], Awaitable[None]],
    ) -> None:
        """Prepare to watch.

        Args:
            session: The conversation.
            turn: The message.
            out: The console for lines and questions.
            requests: The open requests of the session.
            asker: Asks about it.
            take: Is given what is typed meanwhile.
        """
        super().__init__(session, out, None)
        self.pending = requests.pending
        self._changed = requests.changed
        self._asker: Asker = asker
        self._turn = turn
        self._take_message = take

    def _items(self, after: str | None) -> AsyncGenerator[Item]:
        return self._turn.stream(after)

    def _line(self, event: RunEvent) -> Text | None:
        if isinstance(event, ModelReplied) and event.calls and event.text:
            return Text(visible(event.text))  # the answer itself, which makes no calls, follows
        return line_of(event) if event.type in SHOWN else None

    def _follow_request(self, event: RunEvent) -> None:
        """Nothing: the session's requests are followed as a whole."""

    async def _next(self, reading: asyncio.Task[None]) -> None:
        """Wait; where all that is open is for others, take a message meanwhile."""

        def gives_way() -> bool:
            waits_for_others = bool(self.pending.keys() - self._asker.decided)
            return reading.done() or bool(self._lines) or not waits_for_others or self._asker.next_of(self) is not None

        if self._asker.ended:
            raise PersonLeftError
        if gives_way():
            await super()._next(reading)
            return
        self._hide_words()
        self._out.print(PROMPT, end="")
        try:
            await self._take_message(await line_unless(gives_way, self._changed))
        except GaveWayError:
            self._out.print()
        self._show_words()


def _shown(output: JsonValue) -> str:
    return visible(output) if isinstance(output, str) else json_text(output, indent=2)
