"""Has the application told of requests. Nothing waits for it but the very end of a run, and that not for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel
from temporalio import workflow

from handfast.errors import PayloadInvalidError, PayloadUnreadableError
from handfast.payloads.base import json_size
from handfast.payloads.notify import NOTIFY, Notification, Notified, Notify
from handfast.payloads.requests import Request, Transition
from handfast.payloads.undecodable import UNREADABLE
from handfast.workflows.ledger.ledger import Ledger
from handfast.workflows.state.publish import shortened
from handfast.workflows.tasks.marks import Marks
from handfast.workflows.tasks.settle import Cancelled, Done, Failed, Settled, settle_activity, start_activity
from handfast.workflows.tasks.timeouts import NOTIFICATION

MOST_TOGETHER: Final = 20
"""Notifications of one activity."""
MOST_BYTES: Final = 200_000
"""Of one activity's argument, unless one notification alone has more."""
MOST_UNDER_WAY: Final = 3
"""Activities at the same time: what they carry together has to fit beside a task's other commands."""
MOST_WAITING: Final = 500
"""Notifications that wait for one of those; beyond, the oldest are given up."""
CARRIED_BYTES: Final = 200_000
"""Of notifications that go on in a fresh history, where `CARRY_BYTES` has to take the run too; likewise."""
ARGUMENTS_BYTES: Final = {"opened": 2048, "reviewed": 2048, "reminded": 2048, "escalated": 2048}
"""Of the arguments that a notification shows, by what it tells; 256 for those that a request has closed."""
LAST_WORDS: Final = timedelta(seconds=10)
"""How long a run that has ended waits for the last ones."""
UNREAD: Final = "handfast.unread.notified.{}"
"""Recorded where the answer of one of those activities could not be decrypted, by its number in the history."""

_UNREAD: Final = Failed(type=UNREADABLE, message="the answer was encrypted, and could not be read when it came")


class NotifierState(BaseModel):
    """What goes on in a fresh history: those that were under way are told again, under the same ids."""

    wanted: bool
    waiting: list[Notification]


class Notifier:
    """Turns steps of the ledger into notifications, and has them delivered at least once.

    Attributes:
        wanted: The workers have a function to tell; nothing is scheduled otherwise.
    """

    def __init__(self, ledger: Ledger, changed: Callable[[], None], marks: Marks) -> None:
        """Begin with nothing to tell.

        Args:
            ledger: Whose steps are told.
            changed: Has its log published: somebody could not be told.
            marks: The workflow's.
        """
        self.wanted = False
        self._ledger = ledger
        self._changed = changed
        self._marks = marks
        self._waiting: list[Notification] = []
        self._under_way: list[list[Notification]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._delivered = 0
        self._given_up: set[str] = set()

    @property
    def idle(self) -> bool:
        """Whether all that is known has been told, or given up."""
        return not self._waiting and not self._under_way

    def carried(self) -> NotifierState:
        """What is taken along."""
        return NotifierState(wanted=self.wanted, waiting=self._untold)

    def restore(self, state: NotifierState) -> None:
        """Take over what was carried, and go on telling it."""
        self.wanted, self._waiting = state.wanted, state.waiting
        self.send()

    def lighten(self, now: datetime) -> bool:
        """Give up the oldest of what would be too much to take along; whether there were any."""
        untold = self._untold
        sizes = [json_size(each.to_wire()) for each in untold]
        excess = sum(sizes) - CARRIED_BYTES
        if excess <= 0:
            return False
        for each, size in zip(untold, sizes, strict=True):
            if excess <= 0:
                break
            excess -= size
            self._given_up.add(each.id)
            self._give_up(each, "too much waited to be told where the run left its history", now)
        self._waiting = [each for each in self._waiting if each.id not in self._given_up]
        return True

    @property
    def _untold(self) -> list[Notification]:
        under_way = [each for batch in self._under_way for each in batch if each.id not in self._given_up]
        return [*under_way, *self._waiting]

    def take(self, labels: dict[str, str]) -> None:
        """Take what happened to requests since the last time."""
        news, self._ledger.log.news = self._ledger.log.news, []
        if not self.wanted:
            return
        self._waiting += [self._notification(step, request, labels) for step, request in news]
        while len(self._waiting) > MOST_WAITING:
            self._give_up(self._waiting.pop(0), "too many waited to be told", workflow.now())

    def send(self) -> None:
        """Have told what waits, as much as may be under way."""
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.remove(task)
            task.result()
        while self._waiting and len(self._under_way) < MOST_UNDER_WAY:
            batch = self._next_batch()
            self._under_way.append(batch)
            self._tasks.append(asyncio.create_task(self._deliver(batch)))

    async def settle(self, patience: timedelta | None = None) -> bool:
        """Wait until all has been told, and no longer than *patience*, or (None) as long as the end of a run does.

        Returns:
            Whether a cancel came in the meantime: whoever does not end now has to raise it.
        """
        if self.idle:
            return False
        # A task of its own, as in `archive_segment`.
        waiting, cancelled = asyncio.create_task(self._until_idle(patience or LAST_WORDS)), False
        while not waiting.done():
            try:
                await asyncio.shield(waiting)
            except asyncio.CancelledError:
                cancelled = True
        waiting.result()
        return cancelled

    # --- inside ---

    async def _until_idle(self, patience: timedelta) -> None:
        try:
            await workflow.wait_condition(lambda: self.idle, timeout=patience)
        except TimeoutError:
            return

    def _notification(self, step: Transition, request: Request, labels: dict[str, str]) -> Notification:
        return Notification.model_validate(
            {
                "id": _id_of(step, request),
                "what": step.what,
                "at": step.at,
                "run": workflow.info().workflow_id,
                "request": shortened(request, ARGUMENTS_BYTES.get(step.what, 256)),
                "labels": labels or None,
                **step.model_dump(include={"due", "approvers", "verdict", "by"}),
            }
        )

    def _next_batch(self) -> list[Notification]:
        batch, size = [self._waiting.pop(0)], 0
        while self._waiting and len(batch) < MOST_TOGETHER:
            size += json_size(batch[-1].to_wire())
            if size + json_size(self._waiting[0].to_wire()) > MOST_BYTES:
                break
            batch.append(self._waiting.pop(0))
        return batch

    async def _deliver(self, batch: list[Notification]) -> None:
        told = f"{batch[0].what} {batch[0].request.tool or batch[0].request.kind}"
        summary = told if len(batch) == 1 else f"{told} and {len(batch) - 1} more"
        activity = start_activity(NOTIFY, Notify(notifications=batch).to_wire(), summary, NOTIFICATION, self._marks)
        problems = problems_of(await self._ending(activity), batch)
        self._under_way.remove(batch)
        for each in batch:
            if each.id in problems and each.id not in self._given_up:
                self._give_up(each, problems[each.id], workflow.now())
        self.send()
        if problems:
            self._changed()

    async def _ending(self, activity: workflow.ActivityHandle[Any]) -> Settled:
        """How an activity ended. What could not be decrypted when it came never could, whatever keys a replay has.

        No run waits for a key because of it, as it does for what it goes on with.
        """
        self._delivered += 1
        unread = UNREAD.format(self._delivered)
        try:
            settled = await settle_activity(activity, self._marks)
        except PayloadUnreadableError:
            settled = None
        if not workflow.unsafe.is_replaying():
            if settled is None:
                workflow.patched(unread)
            return settled or _UNREAD
        if workflow.patched(unread):
            return _UNREAD
        return settled or Done(Notified().to_wire())  # it was read; where it said of problems, the replay fails

    def _give_up(self, notification: Notification, problem: str, now: datetime) -> None:
        why = f"{notification.id}: {problem}"
        self._ledger.log.note(Transition(what="notify_failed", at=now, request=notification.request.id, why=why))


def _id_of(step: Transition, request: Request) -> str:
    """Stable: the request, what happened to it, and which one it is of those that happen at their time."""
    known = f"{request.id}:{step.what}"
    if step.due is None:
        return known
    kind = "remind" if step.what == "reminded" else "escalate"
    number = sum(each.what == kind and each.at <= step.due for each in request.schedule or ())
    return f"{known}:{number}"


def problems_of(settled: Settled, batch: list[Notification]) -> dict[str, str]:
    """Why notifications were not delivered, by their id."""
    match settled:
        case Done(value):
            try:
                return Notified.from_wire(value).failed or {}
            except PayloadInvalidError as error:
                problem = f"what became of it cannot be read: {error}"
        case Failed(type=kind, message=message):
            problem = f"{kind}: {message}"
        case Cancelled():
            problem = "cancelled"
    return {each.id: problem for each in batch}
