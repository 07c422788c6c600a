"""The activity `handfast.notify`: tells the application of requests, through the function that it gave."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from temporalio import activity
from temporalio.exceptions import ApplicationError

from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import UserCodeError, call_user_code
from handfast.errors import PayloadInvalidError
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.notify import NOTIFY, Notification, Notified, Notify

logger = logging.getLogger(__name__)

CALL_S: Final = 15.0
"""How long the application's function may take for one notification."""
PROBLEM_CHARACTERS: Final = 300


class NotifyPeople:
    """Holds what the activity needs; `run` is the activity."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @activity.defn(name=NOTIFY)
    async def run(self, arg: object) -> JsonObject:
        """Tell each notification, those of one request in their order, and none that an earlier attempt has told.

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
        last = info.retry_policy is None or info.attempt >= info.retry_policy.maximum_attempts > 0
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
        """Tell what belongs to one request, in its order: where one fails the others wait for it, while that helps."""
        for each in group:
            if each.id in told:
                continue
            problem = await self._problem_with(each)
            if problem is None:
                told.add(each.id)
                continue
            problems[each.id] = problem
            if not past_failures:
                return

    async def _problem_with(self, notification: Notification) -> str | None:
        """Call the function; say why that failed, or None."""
        notify = self._runtime.notify
        assert notify is not None
        try:
            calling = call_user_code(notify, notification, threads=self._runtime.notify_threads)
            await asyncio.wait_for(calling, CALL_S)
        except TimeoutError:
            problem = f"notify took longer than {CALL_S:g} s"
        except UserCodeError as error:
            # What it says may hold addresses and tokens: that is logged, where the worker runs.
            logger.error("notify raised for %s: %s", notification.id, error)
            return f"notify raised {error.kind}"
        else:
            return None
        logger.error("%s for %s", problem, notification.id)
        return problem
