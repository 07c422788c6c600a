"""The activity `handfast.notify`: tells the application of requests, through the function that it gave."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from temporalio import activity
from temporalio.exceptions import ApplicationError

from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import Problem, ask
from handfast.activities.runtime.user_errors import Place, is_last_attempt, set_place
from handfast.errors import PayloadInvalidError
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.notify import NOTIFY, Notification, Notified, Notify

CALL_S: Final = 15.0
"""Time limit of the application's function for one notification."""
PROBLEM_CHARACTERS: Final = 300


class NotifyPeople:
    """The activity, as its method `run`, with the runtime of its worker."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @activity.defn(name=NOTIFY)
    async def run(self, arg: object) -> JsonObject:
        """Send each notification, those of one request in their order, and none that an earlier attempt has sent.

        Raises:
            ApplicationError: ``NotifyMissing`` (another worker may have a function), ``NotifyFailed``: tried again.
        """
        try:
            asked = Notify.from_wire(arg)
        except PayloadInvalidError as error:
            raise ApplicationError(str(error), type="PayloadInvalid", non_retryable=True) from None
        if self._runtime.notify is None:
            raise ApplicationError(
                "this worker has no function to tell, and others of its task queue have one; give its HandfastPlugin "
                "notify=…",
                type="NotifyMissing",
            )
        info = activity.info()
        told: set[str] = set(info.heartbeat_details[0]) if info.heartbeat_details else set()
        last = is_last_attempt()
        by_request: dict[str, list[Notification]] = {}
        for each in asked.notifications:
            by_request.setdefault(each.request.id, []).append(each)
        problems: dict[str, str] = {}
        groups = (self._tell(group, told, problems, past_failures=last) for group in by_request.values())
        await asyncio.gather(*groups)
        if problems and not last:
            activity.heartbeat(sorted(told))
            raise ApplicationError(next(iter(problems.values())), type="NotifyFailed")
        return Notified(failed=problems or None).to_wire()

    async def _tell(
        self, group: Iterable[Notification], told: set[str], problems: dict[str, str], *, past_failures: bool
    ) -> None:
        """Send the notifications of one request in order: where one fails the others wait, while a retry may help."""
        for each in group:
            if each.id in told:
                continue
            problem = await self._problem_with(each, last=past_failures)
            if problem is None:
                told.add(each.id)
                continue
            problems[each.id] = problem
            if not past_failures:
                return

    async def _problem_with(self, notification: Notification, *, last: bool) -> str | None:
        """Call the function; return why it failed, or None, without its message: that may hold addresses and tokens."""
        notify, request = self._runtime.notify, notification.request
        assert notify is not None
        set_place(Place(request.agent, request.turn, request.tool, notification.run))
        answer = await ask(
            notify,
            notification,
            name=f"notify of {notification.id}",
            within=CALL_S,
            threads=self._runtime.notify_threads,
            then="nobody was told",
            retried=not last,
        )
        return f"notify {answer.brief}" if isinstance(answer, Problem) else None
