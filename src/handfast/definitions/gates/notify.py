"""How the application tells people of requests: a function that it gives to its workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from handfast.definitions.checks import check_function
from handfast.payloads.notify import Notification

__all__ = ["NotifyFunction"]

NotifyFunction: TypeAlias = Callable[[Notification], Awaitable[object] | object]
"""Tells somebody, sync or async. What it returns does not matter; where it raises it is called again."""


def check_notify(notify: Any) -> None:
    """Check what a plugin was given as its `notify`.

    Raises:
        DefinitionError: It is no function of one notification.
    """
    if notify is not None:
        check_function("HandfastPlugin", "notify", notify, "a Notification")
