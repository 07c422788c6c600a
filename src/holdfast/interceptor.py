"""Keeps heartbeats of tool code away from the begun mark."""

from __future__ import annotations

from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ActivityOutboundInterceptor, Interceptor

from holdfast.activities.beats import OUR_BEAT


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


class _Outbound(ActivityOutboundInterceptor):
    def heartbeat(self, *details: Any) -> None:
        if OUR_BEAT.get() or not activity.info().activity_type.startswith("holdfast.tool."):
            super().heartbeat(*details)
