"""Keeps heartbeats of tool code away from the begun mark, and what cannot be decrypted away from activities."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from handfast.activities.beats import OUR_BEAT
from handfast.payloads.undecodable import UNREADABLE, Undecodable

KEY_AGAIN: Final = timedelta(seconds=20)
"""A worker without the key leaves a call to another one for so long."""


class BeatGuard(Interceptor):
    """Swallows ``activity.heartbeat()`` inside tools, and nowhere else.

    One SDK heartbeat without details would erase the mark that tells whether a call had begun; ours go on by
    themselves.
    """

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        return _Inbound(next)


class _Inbound(ActivityInboundInterceptor):
    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        unread = next((each for each in input.args if isinstance(each, Undecodable)), None)
        if unread is not None and unread.encrypted and activity.info().activity_type.startswith("handfast."):
            raise ApplicationError(unread.problem, type=UNREADABLE, next_retry_delay=KEY_AGAIN)
        return await super().execute_activity(input)


class _Outbound(ActivityOutboundInterceptor):
    def heartbeat(self, *details: Any) -> None:
        if OUR_BEAT.get() or not activity.info().activity_type.startswith("handfast.tool."):
            super().heartbeat(*details)
