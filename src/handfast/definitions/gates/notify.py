"""The function by which an application notifies people of requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from handfast.definitions.checks import check_function
from handfast.payloads.notify import Notification

__all__ = ["NotifyFunction"]

NotifyFunction: TypeAlias = Callable[[Notification], Awaitable[object] | object]
"""A function, sync or async, that notifies somebody. Its return value is ignored; one that raises is called again."""


def check_notify(notify: Any) -> None:
    """Check ``HandfastPlugin(notify=…)``.

    Raises:
        DefinitionError: It is no function of one notification.
    """
    if notify is not None:
        check_function("HandfastPlugin", "notify", notify, "a Notification")
