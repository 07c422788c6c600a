"""Talks to an agent in a session: a line is a message, its answer follows; approvals are asked in between."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.text import Text

from handfast.cli import exits
from handfast.cli.asking import read_line
from handfast.cli.event_lines import line_of
from handfast.cli.options import Where
from handfast.cli.output import json_text, say, visible, warn
from handfast.cli.place import handfast
from handfast.cli.terminal import console
from handfast.cli.watch import Watcher
from handfast.client.merge import Item
from handfast.client.session import Session
from handfast.client.turn import Turn
from handfast.errors import RefusalError
from handfast.payloads.events import RunEvent
from handfast.payloads.json_profile import JsonValue

SHOWN: Final = frozenset(
    {
        *("handoff", "tool_called", "tool_output", "tool_failed", "tool_cancelled", "tool_not_run"),
        *("request_opened", "request_decided", "request_expired", "agent_started", "agent_finished", "model_failed"),
    }
)
"""Events of a turn that are shown on its way; the answer itself follows."""


@dataclass(frozen=True)
class Talking:
    """How a conversation is held.

    Attributes:
        by: Who talks and decides here: a claimed name.
        close: The session is closed when the input ends.
    """

    agent: str
    session: str
    by: str
    close: bool


async def chat(where: Where, given: Talking, task_queue: str) -> int:
    """Take one message a line until the input ends.

    Raises:
        RunExistsError: The session's id is that of a run.
        SessionClosedError: The session has ended.
    """
    hf = await handfast(where, task_queue)
    person = sys.stdin.isatty() and sys.stderr.isatty()
    session = hf.session(given.session, agent=given.agent, stream=person)
    out = console(stderr=True)
    if person:
        out.print(Text(f"session {given.session}; an empty line is none, Ctrl-D leaves", style="dim"), soft_wrap=True)
    code = exits.OK
    while (line := await _next_line(out if person else None)) is not None:
        if line.strip():
            code = max(code, await _answer(session, line.strip(), given.by, out, person=person))
    if given.close:
        await session.close(by=given.by)
    elif person:
        out.print(Text(f"\n{given.session} goes on whenever you do", style="dim"), soft_wrap=True)
    return code


async def _answer(session: Session, line: str, by: str, out: Console, *, person: bool) -> int:
    """Send one message and show its answer; what a session refuses now it may take later."""
    try:
        turn = await session.send(line, by=by)
    except RefusalError as error:
        if not person:
            raise
        warn(str(error))
        return exits.OK
    if turn.receipt is not None and turn.receipt.state == "stored":
        warn("no worker answers; the message is kept until one returns")
    if person:
        await TurnWatcher(session, turn, out, by).watch(None)
    result = await turn.result()
    if result.failure is not None:
        warn(f"{result.failure.type}: {result.failure.message}")
        return exits.OK if person else exits.RUN_FAILED
    say(_shown(result.output))
    return exits.OK


class TurnWatcher(Watcher):
    """Shows what happens for one message, and asks about its requests."""

    def __init__(self, session: Session, turn: Turn, out: Console, ask_as: str) -> None:
        """Prepare."""
        super().__init__(session, out, ask_as)
        self._turn = turn

    def _items(self, after: str | None) -> AsyncGenerator[Item]:
        return self._turn.stream(after)

    def _line(self, event: RunEvent) -> Text | None:
        return line_of(event) if event.type in SHOWN else None


async def _next_line(prompt: Console | None) -> str | None:
    """The next line of the input; None at its end."""
    if prompt is None:
        return await asyncio.to_thread(sys.stdin.readline) or None
    prompt.print(Text("> ", style="bold"), end="")
    return await read_line()


def _shown(output: JsonValue) -> str:
    return visible(output) if isinstance(output, str) else json_text(output, indent=2)
