"""Has the application told of requests. Nothing waits for it but the very end of a run, and that not for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from pydantic import BaseModel
from temporalio import workflow

from holdfast.payloads.base import json_size
from holdfast.payloads.notify import NOTIFY, Notification, Notified, Notify
from holdfast.payloads.requests import Request, Transition
from holdfast.workflows.budgets import NOTIFICATION
from holdfast.workflows.ledger import WHY_CHARACTERS, Ledger
from holdfast.workflows.publish import shortened
from holdfast.workflows.settle import Cancelled, Done, Failed, Settled, settle_activity, start_activity

MOST_TOGETHER: Final = 20
"""Notifications of one activity."""
MOST_BYTES: Final = 200_000
"""Of one activity's argument, unless one notification alone has more."""
MOST_UNDER_WAY: Final = 3
"""Activities at the same time: what they carry together has to fit beside a task's other commands."""
MOST_WAITING: Final = 500
"""Notifications that wait for one of those; beyond, the oldest are given up."""
ARGUMENTS_BYTES: Final = {"opened": 2048, "reminded": 2048, "escalated": 2048}
"""Of the arguments that a notification shows, by what it tells; 256 for those that a request has closed."""
LAST_WORDS: Final = timedelta(seconds=10)
"""How long a run that has ended waits for the last ones."""


class NotifierState(BaseModel):
    """What goes on in a fresh history: those that were under way are told again, under the same ids."""

    wanted: bool
    waiting: list[Notification]


class Notifier:
    """Turns steps of the ledger into notifications, and has them delivered at least once.

    Attributes:
        wanted: The workers have a function to tell; nothing is scheduled otherwise.
    """

    def __init__(self, ledger: Ledger, changed: Callable[[], None]) -> None:
        """Begin with nothing to tell.

        Args:
            ledger: Whose steps are told.
            changed: Has its log published: somebody could not be told.
        """
        self.wanted = False
        self._ledger = ledger
        self._changed = changed
        self._waiting: list[Notification] = []
        self._under_way: list[list[Notification]] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def idle(self) -> bool:
        """Whether all that is known has been told, or given up."""
        return not self._waiting and not self._under_way

    def carried(self) -> NotifierState:
        """What is taken along."""
        under_way = [each for batch in self._under_way for each in batch]
        return NotifierState(wanted=self.wanted, waiting=[*under_way, *self._waiting])

    def restore(self, state: NotifierState) -> None:
        """Take over what was carried."""
        self.wanted, self._waiting = state.wanted, state.waiting

    def take(self, labels: dict[str, str]) -> None:
        """Take what happened to requests since the last time."""
        news, self._ledger.news = self._ledger.news, []
        if not self.wanted:
            return
        self._waiting += [self._notification(step, request, labels) for step, request in news]
        while len(self._waiting) > MOST_WAITING:
            self._give_up(self._waiting.pop(0), "too many waited to be told")

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
        activity = start_activity(NOTIFY, Notify(notifications=batch).to_wire(), summary, NOTIFICATION)
        problems = _problems(await settle_activity(activity), batch)
        self._under_way.remove(batch)
        for each in batch:
            if each.id in problems:
                self._give_up(each, problems[each.id])
        self.send()
        if problems:
            self._changed()

    def _give_up(self, notification: Notification, problem: str) -> None:
        why = f"{notification.id}: {problem}"[:WHY_CHARACTERS]
        now = workflow.now()
        self._ledger.note(Transition(what="notify_failed", at=now, request=notification.request.id, why=why))


def _id_of(step: Transition, request: Request) -> str:
    """Stable: the request, what happened to it, and which one it is of those that happen at their time."""
    known = f"{request.id}:{step.what}"
    if step.due is None:
        return known
    kind = "remind" if step.what == "reminded" else "escalate"
    number = sum(each.what == kind and each.at <= step.due for each in request.schedule or ())
    return f"{known}:{number}"


def _problems(settled: Settled, batch: list[Notification]) -> dict[str, str]:
    """Why notifications were not delivered, by their id."""
    match settled:
        case Done(value):
            return Notified.from_wire(value).failed or {}
        case Failed(type=kind, message=message):
            problem = f"{kind}: {message}"
        case Cancelled():
            problem = "cancelled"
    return {each.id: problem for each in batch}
