"""Asks a person at this terminal about one approval or question after the other."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from typing import Final, Protocol

from rich.console import Console
from rich.text import Text

from handfast.cli.output import one_line
from handfast.cli.show import print_request, takes_form
from handfast.cli.tables import utc_now
from handfast.client.execution import Execution
from handfast.errors import AnswerRefusedError, JsonProfileError, RefusalError
from handfast.payloads.json_profile import parse_json
from handfast.payloads.requests import Answer, Approve, Reject, Request, Verdict

ASKED: Final = frozenset({"approve", "answer"})
"""Verdicts that can be given here; a request that takes none of them is left to other commands."""


class Waiting(Protocol):
    """What knows which requests are open.

    Attributes:
        pending: They, by id.
    """

    pending: dict[str, Request]


class Asker:
    """Shows each approval with its tool and arguments, and takes a yes or no; each question, and takes an answer."""

    def __init__(self, run: Execution, console: Console, by: str) -> None:
        """Ask on *console*; decisions are recorded as made by *by*."""
        self._run = run
        self._console = console
        self._by = by
        self._left_alone: set[str] = set()

    def next_of(self, waiting: Waiting) -> Request | None:
        """The oldest approval or question that has not been asked about here."""
        for request in sorted(waiting.pending.values(), key=lambda each: each.order):
            if request.id not in self._left_alone and ASKED & {*request.verdicts}:
                return request
        return None

    async def ask(self, request: Request, waiting: Waiting, changed: asyncio.Event) -> None:
        """Ask about one; give way when somebody else decides it meanwhile."""
        self._left_alone.add(request.id)  # whatever comes: nobody is asked the same thing twice
        self._console.print()
        print_request(self._console, request, utc_now())
        verdict = await self._verdict(request, waiting, changed)
        if verdict is None:
            return
        try:
            receipt = await self._run.decide(request, verdict, decided_by=self._by)
        except RefusalError as error:
            self._note(str(error))
            if isinstance(error, AnswerRefusedError):
                self._left_alone.discard(request.id)  # it is still open, and another answer may do
            return
        if receipt.state == "stored":
            self._note("no worker answers; the decision is kept until one returns")
        elif receipt.open:
            self._note(f"vote {receipt.votes} of {receipt.needed}; it waits for others")

    async def _verdict(self, request: Request, waiting: Waiting, changed: asyncio.Event) -> Verdict | None:
        if request.kind == "question":
            return await self._answer(request, waiting, changed)
        while True:
            answer = await self._line("approve? [y]es, [n]o, [l]eave it: ", request, waiting, changed)
            match answer.strip().lower() if answer is not None else None:
                case None:
                    return None
                case "y" | "yes":
                    return Approve()
                case "n" | "no":
                    reason = await self._line("why? (the agent reads it; may be empty) ", request, waiting, changed)
                    return None if reason is None else Reject(reason=reason.strip() or None)
                case "l" | "leave":
                    self._note("left; `handfast approve` and `handfast reject` decide it from anywhere")
                    return None
                case _:
                    continue

    async def _answer(self, request: Request, waiting: Waiting, changed: asyncio.Event) -> Verdict | None:
        """Take an answer: a text, or JSON where the question has a form; an empty line leaves the question."""
        form = takes_form(request)
        while True:
            asked = "answer, as JSON (empty leaves it): " if form else "answer (empty leaves it): "
            line = await self._line(asked, request, waiting, changed)
            if line is None:
                return None
            if not line.strip():
                self._note("left; `handfast answer` and `handfast reject` decide it from anywhere")
                return None
            try:
                return Answer(output=parse_json(line) if form else line.strip())
            except JsonProfileError as error:
                self._note(f"that is not JSON: {error.problem}")

    async def _line(self, prompt: str, request: Request, waiting: Waiting, changed: asyncio.Event) -> str | None:
        """Read one line; None at the end of the input, or once the request is closed elsewhere."""
        self._console.print(Text(prompt, style="bold"), end="")
        reading = asyncio.create_task(read_line())
        try:
            while not reading.done():
                if request.id not in waiting.pending:
                    self._console.print()
                    self._note("closed meanwhile")
                    return None
                changing = asyncio.create_task(changed.wait())
                await asyncio.wait({reading, changing}, return_when=asyncio.FIRST_COMPLETED)
                changing.cancel()
                changed.clear()
            return reading.result()
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading

    def _note(self, line: str) -> None:
        self._console.print(Text(one_line(line), style="dim"))


async def read_line() -> str | None:
    """Read a line from the terminal without a thread, which could not be interrupted."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[bytes] = loop.create_future()
    descriptor = sys.stdin.fileno()

    def readable() -> None:
        if not line.done():
            line.set_result(os.read(descriptor, 4096))  # a terminal hands over whole lines

    loop.add_reader(descriptor, readable)
    try:
        data = await line
    finally:
        loop.remove_reader(descriptor)
    return data.decode(errors="replace") if data else None
