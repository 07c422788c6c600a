"""Signals, in batches: however many come at once, a workflow task does no more than it surely has time for.

The SDK hands one workflow task all signals that came since the last one, and fails the task where the workflow does not
yield within two seconds; every further attempt would fail likewise. So signals are taken in as they are, unread, and a
few of them are read in each task.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from pydantic import BaseModel
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from handfast.workflows.tasks.command_budget import NEXT_TASK
from handfast.workflows.tasks.marks import TaskMarks
from handfast.workflows.tasks.unread import MessageGuard, decoded, size, takes_raw

BATCH: Final = 100
"""Signals that one workflow task reads: some 20 ms, and ten times as much on a machine a tenth as fast. The next task
comes after a second, as the server has no shorter timer."""
BATCH_BYTES: Final = 1024 * 1024
"""Bytes of them together, beyond the first one."""
AT_ONCE: Final = 500
"""Signals of one name that are read however fast they come; the rest is a flood, and is counted."""
NAMING_OPEN: Final = 3000
"""Decisions about requests that wait, beyond those: one that somebody made must not be lost among others'."""
PER_SECOND: Final = 1.0
"""Signals that may be read with each second that passes."""
LOOKED_AT: Final = 4096
"""Bytes at either end of a decision in which the id of its request is looked for, without reading it."""
TOLD: Final = frozenset(10**power for power in range(20))
"""Counts of refused signals at which the flood is told of."""
OTHERS: Final = ""
"""Stands for all names that have no handler."""

HELD: Final = "handfast.held_signals"
"""Name under which a worker has the function that gives a workflow the signals that the SDK was not shown, see
`handfast.worker.held_signals`."""

_ID: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f-]{27}")

Flooded = Callable[[str, int], None]
Handler = Callable[..., Awaitable[None]]
Held = deque[tuple[str, Sequence[Payload]]]


class Allowance(BaseModel):
    """A bucket that fills with time: what it holds may be done at once.

    Attributes:
        most: What it holds; full at first.
        used: What was taken out of it.
        at: The workflow's time when that was so.
    """

    most: int
    used: float = 0.0
    at: float = 0.0

    def take(self, now: float) -> bool:
        """Take one out; False where there is none."""
        self.used = max(0.0, self.used - (now - self.at) * PER_SECOND)
        self.at = now
        if self.used > self.most - 1:
            return False
        self.used += 1
        return True


class SignalTally(BaseModel):
    """Counts of a run's signals, read and unread: they go on in a fresh history, as a flood does.

    Attributes:
        read: Allowances by the signal's name.
        about_open: The allowance of decisions about requests that wait.
        refused: How many were refused unread, by name.
    """

    read: dict[str, Allowance] = {}
    about_open: Allowance = Allowance(most=NAMING_OPEN)
    refused: dict[str, int] = {}


class Intake:
    """Hands signals to their handlers in the order in which they came, and counts those of a flood unread."""

    def __init__(
        self,
        marks: TaskMarks,
        guard: MessageGuard,
        tally: SignalTally,
        waiting: Callable[[], Iterable[str]],
        flooded: Flooded,
    ) -> None:
        """Begin empty.

        Args:
            marks: The workflow's.
            guard: Likewise.
            tally: The run's.
            waiting: Says the ids of the requests that wait: a decision that names one has an allowance of its own, so
                that no flood of others keeps it out.
            flooded: Hears of a name of which signals were refused unread, and how many so far: at the first one, and
                then at each power of ten.
        """
        self._marks = marks
        self._guard = guard
        self._requests = waiting
        self._flooded = flooded
        self._handlers: dict[str, Handler] = {}
        self._decisions: set[str] = set()
        self._tally = tally
        self._waiting: deque[tuple[str, Sequence[object]]] = deque()
        self._held: Held = workflow.extern_functions().get(HELD, deque)()
        self._draining = False
        self._task, self._read, self._bytes = 0, 0, 0
        self._open: frozenset[bytes] = frozenset()

    def handle(self, name: str, handler: Handler, *, decides: bool = False) -> None:
        """Have signals of a name handled; *decides* where they are decisions."""
        self._handlers[name] = self._guard.signal(handler)
        if decides:
            self._decisions.add(name)

        async def take(*args: object) -> None:
            await self._came(name, args)

        workflow.set_signal_handler(name, takes_raw(take))

    def handle_others(self, handler: Callable[[str], Awaitable[None]]) -> None:
        """Have signals of every other name handled, by their name alone."""
        self._handlers[OTHERS] = handler

        async def take(name: str, _args: Sequence[RawValue]) -> None:
            await self._came(OTHERS, (name,))

        workflow.set_dynamic_signal_handler(take)

    @property
    def idle(self) -> bool:
        """True while all that came has been handed on."""
        return not self._waiting and not self._held and not self._draining

    def drop(self) -> int:
        """Read no more of what came, as nobody is there for it any more; return how many signals stay unread."""
        unread = len(self._waiting) + len(self._held)
        self._waiting.clear()
        self._held.clear()
        return unread

    # --- inside ---

    async def _came(self, name: str, args: Sequence[object]) -> None:
        self._marks.note_input()
        self._begin_task()
        if self._is_read(name, args, workflow.time()):
            if self._waiting or not self._has_room(args):
                self._waiting.append((name, args))
            else:
                await self._hand_on(name, args)
        if not self.idle and not self._draining:
            await self._drain()

    async def _drain(self) -> None:
        """Hand on what waits, a batch in each workflow task. Part of a signal's handler, so that a failure in it fails
        the workflow task, and no history is left before all is read."""
        self._draining = True
        handed_on: list[asyncio.Task[None]] = []
        await workflow.wait_condition(lambda: True)  # what the SDK was shown comes before what it was not
        while self._waiting or self._held:
            self._begin_task()
            self._fetch()
            while self._waiting and self._has_room(self._waiting[0][1]):
                name, args = self._waiting.popleft()
                handed_on.append(asyncio.create_task(self._hand_on(name, args)))
            await workflow.wait_condition(lambda: True)
            handed_on = [task for task in handed_on if not _has_ended(task)]
            if self._waiting:
                with suppress(TimeoutError):
                    await workflow.wait_condition(lambda: not self._waiting, timeout=NEXT_TASK)
                self._marks.note_input()
        self._draining = False
        for task in handed_on:
            await task

    def _fetch(self) -> None:
        """Take over what the SDK was not shown."""
        now = workflow.time()
        flooded: set[str] = set()  # names of which no more is read in this task, whatever it says
        while self._held:
            name, payloads = self._held.popleft()
            known = name if name in self._handlers else OTHERS
            if known in flooded:
                self._refuse(known)
                continue
            args: Sequence[object] = (name,) if known == OTHERS else [RawValue(payload) for payload in payloads]
            if known not in self._handlers:
                continue
            if self._is_read(known, args, now):
                self._waiting.append((known, args))
            elif known not in self._decisions:
                flooded.add(known)

    def _is_read(self, name: str, args: Sequence[object], now: float) -> bool:
        """Return whether a signal is within what is read at all; one that is not is counted."""
        if self._allowance(name).take(now):
            return True
        if name in self._decisions and any(map(self._may_decide, args)) and self._tally.about_open.take(now):
            return True
        self._refuse(name)
        return False

    def _refuse(self, name: str) -> None:
        refused = self._tally.refused
        count = refused[name] = refused.get(name, 0) + 1
        if count in TOLD:
            self._flooded(name, count)

    def _allowance(self, name: str) -> Allowance:
        found = self._tally.read.get(name)
        if found is None:
            found = self._tally.read[name] = Allowance(most=AT_ONCE)
        return found

    def _may_decide(self, arg: object) -> bool:
        if not isinstance(arg, RawValue):
            return False
        data = arg.payload.data
        looked_at = data[:LOOKED_AT] + b" " + data[LOOKED_AT:][-LOOKED_AT:]
        return not self._open.isdisjoint(_ID.findall(looked_at))

    def _begin_task(self) -> None:
        """Note in which workflow task this is: each reads as much again."""
        task = workflow.info().get_current_history_length()
        if task != self._task:
            self._task, self._read, self._bytes = task, 0, 0
            self._open = frozenset(each.encode() for each in self._requests())

    def _has_room(self, args: Sequence[object]) -> bool:
        """Take a signal out of what the workflow task under way may read; False where too little is left."""
        more = sum(map(size, args))
        if self._read >= BATCH or (self._read > 0 and self._bytes + more > BATCH_BYTES):
            return False
        self._read, self._bytes = self._read + 1, self._bytes + more
        return True

    async def _hand_on(self, name: str, args: Sequence[object]) -> None:
        await self._handlers[name](*decoded(args))


def _has_ended(task: asyncio.Task[None]) -> bool:
    """Return whether a handler has ended; an exception of it fails the workflow task."""
    if task.done():
        task.result()
    return task.done()
