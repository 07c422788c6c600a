"""The person of the demo: someone at the terminal, or answers that were prepared."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from demonstration.evidence import Evidence
from demonstration.screen import DemoError, Screen
from holdfast import Request


@dataclass(frozen=True)
class Answer:
    """Yes, or no with a reason that the model will read."""

    yes: bool
    reason: str | None = None


DEFAULT_ANSWERS: Final = (
    Answer(yes=True),
    Answer(yes=False, reason="winsxs_cache is needed to uninstall updates; leave it alone."),
)
UNPREPARED: Final = Answer(yes=False, reason="No answer was prepared for this request.")


def read_answer(text: str) -> Answer:
    """Read ``yes``, ``no`` or ``no: a reason``.

    Raises:
        ValueError: It is none of them.
    """
    word, _, reason = text.partition(":")
    match word.strip().lower():
        case "y" | "yes":
            return Answer(yes=True)
        case "n" | "no":
            return Answer(yes=False, reason=reason.strip() or None)
    raise ValueError(f"{text!r} is no answer; write yes, no, or 'no: a reason'")


def described(request: Request) -> str:
    """Tool and arguments of a request, as a call."""
    arguments = request.arguments or {}
    listed = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())
    return f"{request.tool}({listed})"


class Person(Protocol):
    """Whoever answers."""

    name: str

    async def answer(self, request: Request) -> Answer:
        """Approve a call or not."""
        ...

    async def took_effect(self, request: Request, evidence: Evidence) -> bool:
        """Say whether a call that was interrupted did its work."""
        ...


class Prepared:
    """Answers that were prepared, in the order of the requests; any further request is rejected."""

    name = "demo"

    def __init__(self, answers: Iterable[Answer], screen: Screen) -> None:
        self._answers = iter(answers)
        self._screen = screen

    async def answer(self, request: Request) -> Answer:
        """Take the next one."""
        answer = next(self._answers, UNPREPARED)
        said = "yes" if answer.yes else f"no: {answer.reason}" if answer.reason else "no"
        self._screen.line(f"  prepared answer: {said}", "cyan")
        return answer

    async def took_effect(self, request: Request, evidence: Evidence) -> bool:
        """Believe what the journal and the folder show."""
        return evidence.took_effect


class AtTerminal:
    """Asks whoever sits there."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.name = os.environ.get("USER") or os.environ.get("LOGNAME") or "terminal"

    async def answer(self, request: Request) -> Answer:
        """Ask y/n, and after a no for the reason."""
        if await self._yes_or_no("  Let it run? [y/n] "):
            return Answer(yes=True)
        reason = await self._ask("  Why not? The agent reads this (Enter for no reason): ")
        return Answer(yes=False, reason=reason or None)

    async def took_effect(self, request: Request, evidence: Evidence) -> bool:
        """Ask; what the journal and the folder show is what Enter says."""
        return await self._yes_or_no("  Did it take effect?", default=evidence.took_effect)

    async def _yes_or_no(self, question: str, *, default: bool | None = None) -> bool:
        if default is not None:
            question = f"{question} {'[Y/n]' if default else '[y/N]'} "
        while True:
            said = (await self._ask(question)).lower()
            if said in ("y", "yes", "n", "no"):
                return said.startswith("y")
            if not said and default is not None:
                return default

    async def _ask(self, question: str) -> str:
        self._screen.line(question, "cyan", end="")
        return await read_line()


async def read_line() -> str:
    """Read a line from the terminal without holding up the loop, or a thread that would outlive a Ctrl-C.

    Raises:
        DemoError: The terminal was closed.
    """
    loop, terminal, typed = asyncio.get_running_loop(), sys.stdin.fileno(), asyncio.Event()
    loop.add_reader(terminal, typed.set)
    try:
        await typed.wait()
    finally:
        loop.remove_reader(terminal)
    try:
        line = os.read(terminal, 4096)  # a terminal gives one line at a time
    except OSError:
        line = b""
    if not line:
        raise DemoError("the terminal was closed before the last answer")
    return line.decode(errors="replace").strip()
