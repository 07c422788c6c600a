"""Exceptions that an exception carries on purpose: members of a group, explicit causes, exceptions handed to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def carried(error: BaseException) -> tuple[BaseException, ...]:
    """Return the exceptions that *error* carries itself, without its implicit context: that was being handled then."""
    try:
        reason = getattr(error, "reason", None)  # where urllib and urllib3 put it
    except Exception:  # noqa: BLE001 - the exception is the user's, and so is its property
        reason = None
    given: tuple[Any, ...] = (error.__cause__, *error.args, reason)
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    found = {id(each): each for each in (*members, *given) if isinstance(each, BaseException)}
    return tuple(found.values())


def all_carried(error: BaseException) -> Iterator[BaseException]:
    """Yield *error* and all that it carries, at any depth, each once."""
    waiting, seen = [error], {id(error)}
    while waiting:
        each = waiting.pop(0)
        yield each
        for further in carried(each):
            if id(further) not in seen:
                seen.add(id(further))
                waiting.append(further)


def carries(error: BaseException, kinds: type[BaseException] | tuple[type[BaseException], ...]) -> bool:
    """Return True where *error*, or any exception that it carries, is one of *kinds*."""
    return any(isinstance(each, kinds) for each in all_carried(error))
