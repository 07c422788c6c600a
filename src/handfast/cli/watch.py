"""Watch a run: show its events as they come, for people, or as one JSON document a line."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from handfast.cli import exits
from handfast.cli.asker import Asker
from handfast.cli.event_lines import line_of
from handfast.cli.options import Where
from handfast.cli.output import say
from handfast.cli.place import handfast
from handfast.cli.terminal import console
from handfast.cli.words import Words
from handfast.client.merge import Item
from handfast.client.run import Run
from handfast.client.session import Session
from handfast.payloads.deltas import Delta, DeltasDiscarded
from handfast.payloads.events import RequestEscalated, RequestOpened, RunEvent
from handfast.payloads.requests import Request

CLOSING = frozenset({"request_decided", "request_edited", "request_expired", "request_withdrawn"})


async def watch(where: Where, run_id: str, *, after: str | None, ask_as: str | None, as_json: bool) -> int:
    """Write a run's events until it ends.

    Raises:
        InputError: *ask_as* without a terminal, or with *as_json*.
        OffsetUnknownError: *after* is no place in this run.
        RunNotFoundError: There is no such run.
    """
    if ask_as is not None and (as_json or not (sys.stdin.isatty() and sys.stdout.isatty())):
        raise exits.InputError("--as asks in a terminal, and not with --json; decide with `handfast approve`")
    hf = await handfast(where)
    run = hf.run(run_id)
    if as_json:
        async for event in run.events(after):
            say(json.dumps(event.to_wire(), separators=(",", ":")))
        return exits.OK
    return await Watcher(run, console(), ask_as).watch(after)


class Watcher:
    """Shows events, and in a terminal words while they are written; asks about requests where that is wanted.

    Attributes:
        pending: Open requests by id.
    """

    def __init__(self, run: Run | Session, out: Console, ask_as: str | None) -> None:
        """Prepare to watch.

        Args:
            run: The one that is watched.
            out: The console for lines and questions.
            ask_as: The name under which decisions made here are recorded; None asks nothing.
        """
        self.pending: dict[str, Request] = {}
        self._run = run
        self._out = out
        self._changed = asyncio.Event()
        self._lines: list[Text] = []
        self._words = Words()
        self._live: Live | None = None
        self._asker = Asker(run, out, ask_as) if ask_as is not None else None

    async def watch(self, after: str | None) -> int:
        """Show everything until the run has ended."""
        if after is not None:
            self.pending = {request.id: request for request in await self._run.pending()}
        reading = asyncio.create_task(self._take_all(after))
        self._show_words()
        try:
            while not reading.done() or self._lines:
                self._tell()
                await self._ask(reading)
                if not reading.done():
                    await self._next(reading)
            await reading
        finally:
            self._hide_words()
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
        return exits.OK

    async def _next(self, reading: asyncio.Task[None]) -> None:
        """Wait for something to show or to ask."""
        await self._changed.wait()
        self._changed.clear()

    async def _take_all(self, after: str | None) -> None:
        try:
            async with aclosing(self._items(after)) as items:
                async for item in items:
                    self._take(item)
                    self._changed.set()
        finally:
            self._changed.set()

    def _items(self, after: str | None) -> AsyncGenerator[Item]:
        return self._run.stream(after)

    def _line(self, event: RunEvent) -> Text | None:
        """Make the line of an event; None shows nothing."""
        return line_of(event)

    def _take(self, event: Item) -> None:
        self._words.take(event)
        if isinstance(event, Delta | DeltasDiscarded):
            return
        line = self._line(event)
        if line is not None:
            self._lines.append(line)
        self._follow_request(event)

    def _follow_request(self, event: RunEvent) -> None:
        follow_request(self.pending, event)

    def _tell(self) -> None:
        for line in self._lines:
            self._out.print(line, soft_wrap=True)
        self._lines.clear()

    async def _ask(self, reading: asyncio.Task[None]) -> None:
        if self._asker is None:
            return
        while not reading.done() and (request := self._asker.next_of(self)) is not None:
            self._hide_words()
            await self._asker.ask(request, self, self._changed)
            self._tell()
            self._show_words()

    def _show_words(self) -> None:
        if self._out.is_terminal:
            self._live = Live(console=self._out, transient=True, get_renderable=self._picture, refresh_per_second=12)
            self._live.start()

    def _hide_words(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _picture(self) -> Group:
        return Group(*self._words.lines())


def follow_request(pending: dict[str, Request], event: RunEvent) -> None:
    """Let the open requests follow an event: one opens, has other approvers, or is closed."""
    if isinstance(event, RequestOpened):
        pending[event.request.id] = event.request
    elif isinstance(event, RequestEscalated) and (request := pending.get(str(event.request))) is not None:
        approvers = list(dict.fromkeys([*(request.approvers or ()), *(event.approvers or ())]))
        pending[request.id] = request.model_copy(update={"approvers": approvers})
    elif event.type in CLOSING:
        pending.pop(str(getattr(event, "request", None)), None)
