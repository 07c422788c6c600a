"""Has the application told of requests. Nothing waits for it but the very end of a run, and that not for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel
from temporalio import workflow

from handfast.errors import PayloadInvalidError, PayloadUnreadableError
from handfast.payloads.base import UNREADABLE, json_size
from handfast.payloads.notify import NOTIFY, Notification, Notified, Notify
from handfast.payloads.requests import Request, Transition
from handfast.workflows.ledger.log import RequestLog
from handfast.workflows.state.deployment import Deployment
from handfast.workflows.state.publish import shortened
from handfast.workflows.tasks.await_activity import Cancelled, Done, Ending, Failed, await_activity, start_activity
from handfast.workflows.tasks.marks import TaskMarks
from handfast.workflows.tasks.timeouts import NOTIFICATION

MOST_TOGETHER: Final = 20
"""Notifications of one activity."""
MOST_BYTES: Final = 200_000
"""Most bytes of one activity's argument, unless one notification alone has more."""
MOST_UNDER_WAY: Final = 3
"""Activities at the same time: what they carry together has to fit beside a task's other commands."""
MOST_WAITING: Final = 500
"""Notifications that wait for one of those; beyond, the oldest are given up."""
CARRIED_BYTES: Final = 200_000
"""Most bytes of notifications that go on in a fresh history, where `CARRY_BYTES` has to take the run too."""
ARGUMENTS_BYTES: Final = {"opened": 2048, "reviewed": 2048, "reminded": 2048, "escalated": 2048}
"""Most bytes of the arguments that a notification shows, by what it tells; 256 where a request is closed."""
LAST_WORDS: Final = timedelta(seconds=10)
"""Longest wait of a run that has ended for the last ones."""
UNREAD: Final = "handfast.unread.notified.{}"
"""Recorded where the answer of one of those activities could not be decrypted, by its number in the history."""

_UNREAD: Final = Failed(type=UNREADABLE, message="the answer was encrypted, and could not be read when it came")


class NotifierState(BaseModel):
    """All that lasts of a notifier.

    Attributes:
        untold: Notifications that nobody is known to have been told of, oldest first. Those of them that are under way
            when a history is left are told again in the next one, under the same ids.
    """

    untold: list[Notification] = []


class Notifier:
    """Turns steps of the ledger into notifications, and has them delivered at least once.

    An activity that no frame waits for delivers a batch of them, so that they hold up neither a decision nor the moment
    at which a history is left.
    """

    def __init__(
        self,
        state: NotifierState,
        log: RequestLog,
        deployment: Deployment,
        marks: TaskMarks,
        changed: Callable[[], None],
    ) -> None:
        """Work on *state*.

        Args:
            state: All that lasts.
            log: Of the ledger.
            deployment: Says whether workers have a function to tell; nothing is scheduled otherwise.
            marks: Of the workflow.
            changed: Has the log published: somebody could not be told.
        """
        self._state = state
        self._log = log
        self._deployment = deployment
        self._marks = marks
        self._changed = changed
        self._under_way: set[str] = set()
        self._batches = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._delivered = 0

    @property
    def idle(self) -> bool:
        """True once every notification has been told, or given up."""
        return not self._state.untold and not self._batches

    def lighten(self, now: datetime) -> bool:
        """Give up the oldest notifications, where there are too many to take along; return whether there were."""
        sizes = [json_size(each.to_wire()) for each in self._state.untold]
        excess = sum(sizes) - CARRIED_BYTES
        if excess <= 0:
            return False
        for each, size in zip(list(self._state.untold), sizes, strict=True):
            if excess <= 0:
                break
            excess -= size
            self._give_up(each, "too much waited to be told where the run left its history", now)
        return True

    def take(self, labels: dict[str, str]) -> None:
        """Take the news of requests since the last time."""
        news, self._log.news = self._log.news, []
        if not self._deployment.notifies:
            return
        self._state.untold += [_notification(step, request, labels) for step, request in news]
        waiting = self._waiting
        for each in waiting[: max(0, len(waiting) - MOST_WAITING)]:
            self._give_up(each, "too many waited to be told", workflow.now())

    def send(self) -> None:
        """Start as many deliveries as may be under way."""
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.remove(task)
            task.result()
        while self._batches < MOST_UNDER_WAY and (waiting := self._waiting):
            batch = _next_batch(waiting)
            self._batches += 1
            self._under_way.update(each.id for each in batch)
            self._tasks.append(asyncio.create_task(self._deliver(batch)))

    async def flush(self, patience: timedelta = LAST_WORDS) -> bool:
        """Wait until every notification has been told, and no longer than *patience*.

        Returns:
            Whether a cancel came in the meantime: whoever does not end now has to raise it.
        """
        if self.idle:
            return False
        # A task of its own, as in `archive_segment`.
        waiting, cancelled = asyncio.create_task(self._until_idle(patience)), False
        while not waiting.done():
            try:
                await asyncio.shield(waiting)
            except asyncio.CancelledError:
                cancelled = True
        waiting.result()
        return cancelled

    # --- inside ---

    @property
    def _waiting(self) -> list[Notification]:
        """Notifications that no delivery is under way for."""
        return [each for each in self._state.untold if each.id not in self._under_way]

    async def _until_idle(self, patience: timedelta) -> None:
        try:
            await workflow.wait_condition(lambda: self.idle, timeout=patience)
        except TimeoutError:
            return

    async def _deliver(self, batch: list[Notification]) -> None:
        told = f"{batch[0].what} {batch[0].request.tool or batch[0].request.kind}"
        summary = told if len(batch) == 1 else f"{told} and {len(batch) - 1} more"
        activity = start_activity(NOTIFY, Notify(notifications=batch).to_wire(), summary, NOTIFICATION, self._marks)
        problems = problems_of(await self._ending(activity), batch)
        self._batches -= 1
        given_up = {each.id for each in batch} - {each.id for each in self._state.untold}
        for each in batch:
            self._under_way.discard(each.id)
            if each.id in problems and each.id not in given_up:
                self._give_up(each, problems[each.id], workflow.now())
        self._state.untold = [each for each in self._state.untold if each not in batch]
        self.send()
        if problems:
            self._changed()

    async def _ending(self, activity: workflow.ActivityHandle[Any]) -> Ending:
        """Wait for the ending of an activity.

        An answer that could not be decrypted when it came never could, whatever keys a replay has: no run waits for a
        key because of it.
        """
        self._delivered += 1
        unread = UNREAD.format(self._delivered)
        try:
            ending = await await_activity(activity, self._marks)
        except PayloadUnreadableError:
            ending = None
        if not workflow.unsafe.is_replaying():
            if ending is None:
                workflow.patched(unread)
            return ending or _UNREAD
        if workflow.patched(unread):
            return _UNREAD
        return ending or Done(Notified().to_wire())  # it was read; where it said of problems, the replay fails

    def _give_up(self, notification: Notification, problem: str, now: datetime) -> None:
        self._state.untold = [each for each in self._state.untold if each.id != notification.id]
        why = f"{notification.id}: {problem}"
        self._log.note(Transition(what="notify_failed", at=now, request=notification.request.id, why=why))


def _notification(step: Transition, request: Request, labels: dict[str, str]) -> Notification:
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


def _next_batch(waiting: list[Notification]) -> list[Notification]:
    """Return the first of those that wait, as many as one activity tells."""
    batch, size = [waiting[0]], json_size(waiting[0].to_wire())
    for each in waiting[1:MOST_TOGETHER]:
        size += json_size(each.to_wire())
        if size > MOST_BYTES:
            break
        batch.append(each)
    return batch


def _id_of(step: Transition, request: Request) -> str:
    """Stable: the request, what happened to it, and which one it is of those that happen at their time."""
    known = f"{request.id}:{step.what}"
    if step.due is None:
        return known
    kind = "remind" if step.what == "reminded" else "escalate"
    number = sum(each.what == kind and each.at <= step.due for each in request.schedule or ())
    return f"{known}:{number}"


def problems_of(ending: Ending, batch: list[Notification]) -> dict[str, str]:
    """Return why notifications were not delivered, by their id."""
    match ending:
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
