"""The people of the demo: someone at the terminal, or answers that were prepared."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from demonstration.evidence import ORDER, Evidence
from demonstration.screen import DemoError, Screen
from handfast import Approve, Reject, Request
from handfast.errors import JsonProfileError
from handfast.payloads.json_profile import JsonObject, parse_json


@dataclass(frozen=True)
class Yes:
    """Let it run; with `changes`, after these arguments were changed."""

    changes: JsonObject | None = None


@dataclass(frozen=True)
class No:
    """Do not let it run; the model reads the reason."""

    reason: str | None = None


@dataclass(frozen=True)
class Say:
    """The answer to a question of an agent's."""

    text: str


Answer: TypeAlias = Yes | No | Say

SAID: Final = f"It is order {ORDER.order}."
DEFAULT_ANSWERS: Final[Sequence[Answer]] = (
    Say(SAID),
    Yes({"older_than_days": 7}),
    No("winsxs_cache is needed to uninstall updates; leave it alone."),
    Yes(),
)
UNPREPARED: Final = No("No answer was prepared for this request.")
FORMS: Final = "yes, no, 'no: a reason', 'edit: {\"argument\": value}' or 'say: an answer'"


def read_answer(text: str) -> Answer:
    """Read one of `FORMS`.

    Raises:
        ValueError: *text* is none of them.
    """
    word, _, rest = text.partition(":")
    match word.strip().lower(), rest.strip():
        case (("y" | "yes"), ""):
            return Yes()
        case (("n" | "no"), reason):
            return No(reason or None)
        case (("e" | "edit"), changes):
            return Yes(read_changes(changes))
        case "say", answer if answer:
            return Say(answer)
    raise ValueError(f"{text!r} is no answer; write {FORMS}")


def read_changes(text: str) -> JsonObject:
    """Read the arguments that are to be changed, as a JSON object.

    Raises:
        ValueError: *text* is no JSON object with arguments.
    """
    try:
        changes = parse_json(text)
    except JsonProfileError as error:
        raise ValueError(f"{text!r} is not JSON: {error.problem}") from None
    if not isinstance(changes, dict) or not changes:
        raise ValueError(f'{text!r} names no argument; write an object, as in {{"older_than_days": 7}}')
    return changes


def verdict_of(answer: Yes | No, request: Request) -> Approve | Reject:
    """Turn an answer into a verdict; changed arguments go with all the others."""
    if isinstance(answer, No):
        return Reject(reason=answer.reason)
    return Approve(arguments=None if answer.changes is None else {**(request.arguments or {}), **answer.changes})


def described(request: Request) -> str:
    """Write tool and arguments of a request as a call."""
    return f"{request.tool}({listed(request.arguments or {})})"


def listed(arguments: JsonObject) -> str:
    """Write arguments as in a call."""
    return ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())


class Person(Protocol):
    """Answers for itself and, where its own decision does not count, for others.

    Attributes:
        name: Name of the person, who writes the ticket and decides requests without approvers.
    """

    name: str

    async def answer(self, request: Request) -> Yes | No:
        """Approve a call, or reject it."""
        ...

    async def answer_as(self, name: str, request: Request, last: Yes | No) -> Yes | No:
        """Approve or reject as somebody else, after the decision `last` was refused."""
        ...

    async def say(self, request: Request) -> str:
        """Answer a question."""
        ...

    async def took_effect(self, request: Request, evidence: Evidence) -> bool:
        """Return True if an interrupted call took effect."""
        ...


class Prepared:
    """Answers that were prepared, in the order of the requests; any further request is rejected.

    Questions have a queue of their own, so that *yes* and *no* mean the same calls whether a model asks or not.
    """

    name = "ana"

    def __init__(self, answers: Iterable[Answer], screen: Screen) -> None:
        given = list(answers)
        self._said = iter([each.text for each in given if isinstance(each, Say)])
        self._answers = iter([each for each in given if not isinstance(each, Say)])
        self._screen = screen

    async def answer(self, request: Request) -> Yes | No:
        """Take the next one."""
        answer = next(self._answers, UNPREPARED)
        self._screen.line(f"  prepared answer: {_words(answer)}", "cyan")
        return answer

    async def answer_as(self, name: str, request: Request, last: Yes | No) -> Yes | No:
        """Answer the same."""
        self._screen.line(f"  prepared answer of {name}: {_words(last)}", "cyan")
        return last

    async def say(self, request: Request) -> str:
        """Take the next one; without any, what is true."""
        said = next(self._said, SAID)
        self._screen.line(f"  prepared answer: {said}", "cyan")
        return said

    async def took_effect(self, request: Request, evidence: Evidence) -> bool:
        """Believe what files and folders show."""
        return evidence.took_effect


def _words(answer: Yes | No) -> str:
    if isinstance(answer, No):
        return f"no: {answer.reason}" if answer.reason else "no"
    return "yes" if answer.changes is None else f"yes, with {listed(answer.changes)}"


class AtTerminal:
    """Asks whoever sits there."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.name = os.environ.get("USER") or os.environ.get("LOGNAME") or "terminal"

    async def answer(self, request: Request) -> Yes | No:
        """Ask y/n/e, after a no for the reason, after an e for the arguments."""
        return await self._decided("Let it run? [y/n/e] ")

    async def answer_as(self, name: str, request: Request, last: Yes | No) -> Yes | No:
        """Ask again, in the other name."""
        return await self._decided(f"As {name}: let it run? [y/n/e] ")

    async def say(self, request: Request) -> str:
        """Ask; Enter gives the demo's answer."""
        return await self._ask(f'  Your answer (Enter for "{SAID}"): ') or SAID

    async def took_effect(self, request: Request, evidence: Evidence) -> bool:
        """Ask; what files and folders show is what Enter says."""
        shown = "[Y/n]" if evidence.took_effect else "[y/N]"
        said = await self._one_of(f"  Did it take effect? {shown} ", ("y", "yes", "n", "no", ""))
        return said.startswith("y") if said else evidence.took_effect

    async def _decided(self, question: str) -> Yes | No:
        said = await self._one_of(f"  {question}", ("y", "yes", "n", "no", "e", "edit"))
        if said.startswith("y"):
            return Yes()
        if said.startswith("n"):
            return No(await self._ask("  Why not? The agent reads this (Enter for no reason): ") or None)
        while True:
            try:
                return Yes(read_changes(await self._ask("  What is to be changed, as JSON? ")))
            except ValueError as error:
                self._screen.line(f"  {error}", "red")

    async def _one_of(self, question: str, answers: Sequence[str]) -> str:
        while (said := (await self._ask(question)).lower()) not in answers:
            continue
        return said

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
