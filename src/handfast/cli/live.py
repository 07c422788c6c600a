"""Follow a run to its end: show its progress, and ask about its requests where that is wanted."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing, suppress
from typing import Final

from rich.console import Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text
from temporalio.service import RPCError

from handfast.cli.asker import Asker
from handfast.cli.output import one_line, warn
from handfast.cli.progress import MODEL, TOOL, Progress, progress_text
from handfast.cli.tables import arguments_text
from handfast.cli.terminal import cell, console
from handfast.cli.words import Words
from handfast.client.client import Handfast
from handfast.client.run import Run
from handfast.client.trouble import trouble_of
from handfast.encryption.converter import of_workflow
from handfast.errors import HandfastError, WaitingForPeople
from handfast.history.chain import chain_of, current
from handfast.payloads.tool_call import ToolProgress

LOOK_S: Final = 1.0
"""Between two looks at what running tools say."""
PATIENCE_S: Final = 3.0
"""Time without news after which the command looks for the cause."""


class Follower:
    """Follows one run by its history; no worker is asked.

    Attributes:
        progress: The run's progress so far.
    """

    def __init__(self, hf: Handfast, run: Run, *, ask_as: str | None, quiet: bool) -> None:
        """Prepare.

        Args:
            ask_as: The name under which decisions made here are recorded; None asks nothing.
            quiet: Show no progress unless a person watches stderr.
        """
        self.progress = Progress()
        self._run = run
        self._client = hf.client
        self._changed = asyncio.Event()
        self._trouble: str | None = None
        self._told: dict[str, ToolProgress] = {}
        self._terminal = sys.stderr.isatty()
        self._quiet = quiet and not self._terminal
        self._console = console(stderr=True)
        self._spinner = Spinner("dots")
        self._live: Live | None = None
        self._asker = Asker(run, self._console, ask_as) if ask_as is not None else None
        self._words = Words() if self._terminal and hf.stores.deltas is not None else None

    async def follow(self, *, leave_for_people: bool) -> None:
        """Follow the run until it has ended.

        Raises:
            WaitingForPeople: A person is needed, and *leave_for_people*.
            RunNotFoundError: The server does not know the run.
        """
        reading = asyncio.create_task(self._follow_history())
        listening = asyncio.create_task(self._listen())
        self._say(f"run {self._run.id}")
        self._watch()
        try:
            while not reading.done():
                self._tell_news()
                if leave_for_people and self.progress.pending:
                    raise WaitingForPeople(self._run.id, list(self.progress.pending))
                await self._ask(reading)
                await self._next_change(reading)
            self._tell_news()
            await reading
        finally:
            self._unwatch()
            for task in (reading, listening):
                task.cancel()
            await asyncio.gather(reading, listening, return_exceptions=True)  # what matters was raised above

    async def _follow_history(self) -> None:
        converter = of_workflow(self._client, self._run.id)
        try:
            described = await current(self._client, self._run.id, None)
            async for _, event in chain_of(self._client, self._run.id, described.run_id, wait=True):
                await self.progress.take(event, converter)
                self._changed.set()
        finally:
            self._changed.set()

    async def _listen(self) -> None:
        """Take in words while they are written, for a person to see."""
        if self._words is None:
            return
        async with aclosing(self._run.stream()) as items:
            async for item in items:
                self._words.take(item)

    async def _next_change(self, reading: asyncio.Task[None]) -> None:
        quiet_s = 0.0
        while quiet_s < PATIENCE_S:
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._changed.wait()
            except TimeoutError:
                quiet_s += LOOK_S
                await self._look_at_tools()
            else:
                self._changed.clear()
                self._trouble = None
                return
        if not self.progress.pending:
            await self._look_for_trouble()

    async def _look_at_tools(self) -> None:
        """Show the reports of running tools, which are in no history."""
        if not any(step.kind.startswith(TOOL) and step.state == "running" for step in self.progress.current):
            return
        with suppress(HandfastError):  # the reader says so when the server is gone
            for told in await self._run.progress():
                if self._told.get(told.call_id) != told:
                    self._told[told.call_id] = told
                    self.progress.news.append(f"turn {self.progress.turn}: {told.tool}: {progress_text(told)}")
        self._tell_news()

    async def _look_for_trouble(self) -> None:
        with suppress(RPCError):  # the reader says so when the server is gone
            described = await self._client.get_workflow_handle(self._run.id).describe()
            trouble = await trouble_of(self._client, described, attempts=2)
            found = None if trouble is None else str(trouble)
            if found is not None and found != self._trouble and self._live is None:
                warn(found)
            self._trouble = found

    async def _ask(self, reading: asyncio.Task[None]) -> None:
        if self._asker is None:
            return
        while (request := self._asker.next_of(self.progress)) is not None and not reading.done():
            self._unwatch()
            await self._asker.ask(request, self.progress, self._changed)
            self._tell_news()
            self._watch()

    # --- showing ---

    def _watch(self) -> None:
        if self._terminal:
            self._live = Live(console=self._console, transient=True, get_renderable=self._picture, refresh_per_second=8)
            self._live.start()

    def _unwatch(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _tell_news(self) -> None:
        for line in self.progress.news:
            self._say(line)
        self.progress.news.clear()

    def _say(self, line: str) -> None:
        if not self._quiet:
            self._console.print(Text(one_line(line), style="dim"), soft_wrap=True)

    def _telling(self) -> list[ToolProgress]:
        running = {step.kind.removeprefix(TOOL) for step in self.progress.current if step.state == "running"}
        return [told for told in self._told.values() if told.tool in running]

    def _picture(self) -> RenderableType:
        progress = self.progress
        head = f"turn {progress.turn} {progress.agent}" if progress.begun else "waiting for a worker"
        self._spinner.update(text=cell(head))
        lines: list[RenderableType] = [self._spinner]
        for step in progress.current:
            name = "the model" if step.kind == MODEL else step.kind.removeprefix(TOOL)
            lines.append(Text.assemble("  ", cell(name, "bold"), "  ", cell(step.state)))
        lines.extend(Text(one_line(f"    {progress_text(told)}"), style="dim") for told in self._telling())
        lines.extend(self._words.lines() if self._words is not None else ())
        for request in progress.pending.values():
            what = cell(request.tool or request.kind, "yellow")
            lines.append(Text.assemble("  ", what, "  waits for a person  ", arguments_text(request)))
            lines.append(Text(f"    handfast approve {request.id[:8]}", style="dim"))
        if self._trouble is not None:
            lines.append(cell(f"  {self._trouble}", "red"))
        return Group(*lines)
