"""Ask a person at this terminal about one request after the other."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from rich.console import Console
from rich.text import Text

from handfast.cli.output import one_line
from handfast.cli.show import print_request, takes_form
from handfast.cli.tables import approvers_text, utc_now
from handfast.client.execution import Execution
from handfast.errors import AnswerRefusedError, EditRefusedError, JsonProfileError, RefusalError
from handfast.payloads.json_profile import parse_json
from handfast.payloads.people import is_group, named
from handfast.payloads.requests import Answer, Approve, Receipt, Reject, Request, Verdict

ELSEWHERE: Final = {"budget": "`handfast grant` or `handfast reject`", "in_doubt": "`handfast decide`"}
"""The commands for those kinds of request that are not asked about here."""


class Waiting(Protocol):
    """Knows which requests are open.

    Attributes:
        pending: The open requests, by id.
    """

    pending: dict[str, Request]


class Asker:
    """Shows each request, and takes a yes or no, other arguments or an answer, as the request allows.

    Attributes:
        decided: Requests that were decided here, by id.
        ended: The input has ended: Ctrl-D was pressed.
    """

    def __init__(self, run: Execution, console: Console, by: str) -> None:
        """Ask on *console*; decisions are recorded as made by *by*."""
        self.decided: set[str] = set()
        self.ended = False
        self._run = run
        self._console = console
        self._by = by
        self._asked: set[str] = set()
        self._for_others: dict[str, list[str] | None] = {}

    def next_of(self, waiting: Waiting) -> Request | None:
        """Find the oldest request that was not shown here; one of somebody else's again once others may decide it."""
        for request in sorted(waiting.pending.values(), key=lambda each: each.order):
            shown = request.id in self._for_others and self._for_others[request.id] == request.approvers
            if request.id not in self._asked and not shown:
                return request
        return None

    async def ask(self, request: Request, waiting: Waiting, changed: asyncio.Event) -> None:
        """Ask about one; give way when somebody else decides it meanwhile."""
        self._console.print()
        print_request(self._console, request, utc_now())
        barred = why_barred(request, self._by)
        if barred is not None:
            self._for_others[request.id] = request.approvers
            self._note(barred)
            return
        self._asked.add(request.id)  # whatever comes: nobody is asked the same thing twice
        if request.kind in ELSEWHERE:
            self._note(f"{ELSEWHERE[request.kind]} decides it, from anywhere")
            return
        verdict = await self._verdict(request, waiting, changed)
        if verdict is None:
            return
        try:
            receipt = await self._run.decide(request, verdict, decided_by=self._by)
        except RefusalError as error:
            self._note(str(error))
            if isinstance(error, AnswerRefusedError | EditRefusedError):
                self._asked.discard(request.id)  # it is still open, and something else may do
            return
        self._tell(receipt)

    def _tell(self, receipt: Receipt) -> None:
        if receipt.state == "stored":
            self._note("no worker answers; the decision is kept until one returns")
        elif receipt.asked_again is not None:
            self._note("the new arguments are asked about anew")
        elif receipt.open:
            self._note(f"vote {receipt.votes} of {receipt.needed}; it waits for others")
        else:
            self.decided.add(receipt.id)

    async def _verdict(self, request: Request, waiting: Waiting, changed: asyncio.Event) -> Verdict | None:
        if request.kind == "question":
            return await self._answer(request, waiting, changed, "`handfast answer` and `handfast reject`")
        can_edit = "approve" in request.verdicts and request.arguments is not None
        can_answer = "answer" in request.verdicts
        more = f"{', [e]dit' if can_edit else ''}{', [a]nswer' if can_answer else ''}"
        while True:
            answer = await self._line(f"approve? [y]es, [n]o{more}, [l]eave it: ", request, waiting, changed)
            match answer.strip().lower() if answer is not None else None:
                case None:
                    return None
                case "y" | "yes":
                    return Approve()
                case "n" | "no":
                    reason = await self._line("why? (the agent reads it; may be empty) ", request, waiting, changed)
                    return None if reason is None else Reject(reason=reason.strip() or None)
                case "e" | "edit" if can_edit:
                    return await self._edit(request, waiting, changed)
                case "a" | "answer" if can_answer:
                    return await self._answer(request, waiting, changed, "`handfast approve` and `handfast reject`")
                case "l" | "leave":
                    self._note("left; `handfast approve` and `handfast reject` decide it from anywhere")
                    return None
                case _:
                    continue

    async def _edit(self, request: Request, waiting: Waiting, changed: asyncio.Event) -> Verdict | None:
        """Take other arguments for the call."""
        while True:
            line = await self._line("arguments, as a JSON object (empty leaves it): ", request, waiting, changed)
            if line is None or not line.strip():
                return None
            try:
                arguments = parse_json(line)
            except JsonProfileError as error:
                self._note(f"that is not JSON: {error.problem}")
                continue
            if isinstance(arguments, dict):
                return Approve(arguments=arguments)
            self._note('that is no object, as in {"target": "temp_files"}')

    async def _answer(
        self, request: Request, waiting: Waiting, changed: asyncio.Event, commands: str
    ) -> Verdict | None:
        """Take an answer: a text, or JSON where a question has a form; an empty line leaves the request."""
        form = takes_form(request)
        while True:
            asked = "answer, as JSON (empty leaves it): " if form else "answer (empty leaves it): "
            line = await self._line(asked, request, waiting, changed)
            if line is None:
                return None
            if not line.strip():
                self._note(f"left; {commands} decide it from anywhere")
                return None
            try:
                return Answer(output=parse_json(line) if form else line.strip())
            except JsonProfileError as error:
                self._note(f"that is not JSON: {error.problem}")

    async def _line(self, prompt: str, request: Request, waiting: Waiting, changed: asyncio.Event) -> str | None:
        """Read one line; None at the end of the input, or once the request is closed elsewhere."""
        self._console.print(Text(prompt, style="bold"), end="")
        try:
            line = await line_unless(lambda: request.id not in waiting.pending, changed)
        except GaveWayError:
            self._console.print()
            self._note("closed meanwhile")
            return None
        self.ended = self.ended or line is None
        return line

    def _note(self, line: str) -> None:
        self._console.print(Text(one_line(line), style="dim"))


def why_barred(request: Request, by: str) -> str | None:
    """Say why a person may not decide a request, and who may, as far as that is known here; None where they may.

    Who is in a group only the workers know: they refuse then, and say it too.
    """
    askers = [name for name in (request.requested_by, *(request.editors or ())) if name is not None]
    if request.exclude_requester and named(by, askers):
        who = approvers_text(request) or "anybody else"
        return f"{by} asked for it or changed it, and may not decide; it waits for {who}"
    approvers = request.approvers or []
    if approvers and not any(map(is_group, approvers)) and not named(by, approvers):
        return f"{by} may not decide it; it waits for {approvers_text(request)}"
    if named(by, [vote.by for vote in request.votes or ()]):
        return f"{by} has voted; it waits for {approvers_text(request)}"
    return None


class GaveWayError(Exception):
    """A prompt is no longer of use: something else is to be shown or asked."""


async def line_unless(gives_way: Callable[[], bool], changed: asyncio.Event) -> str | None:
    """Read a line; None at the end of the input.

    Args:
        gives_way: Asked at first, and each time that *changed* is set.
        changed: Is cleared.

    Raises:
        GaveWayError: The prompt is no longer of use.
    """
    reading = asyncio.create_task(read_line())
    try:
        while not reading.done():
            if gives_way():
                raise GaveWayError
            changing = asyncio.create_task(changed.wait())
            await asyncio.wait({reading, changing}, return_when=asyncio.FIRST_COMPLETED)
            changing.cancel()
            changed.clear()
        return reading.result()
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading


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
