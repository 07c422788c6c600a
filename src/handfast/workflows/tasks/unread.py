"""Reads messages: their size before anything else, and whether this worker can decrypt them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from temporalio import workflow
from temporalio.common import RawValue

from handfast.errors import PayloadUnreadableError
from handfast.payloads.base import Undecodable
from handfast.workflows.tasks.marks import TaskMarks

MOST_BYTES: Final = 256 * 1024
"""Most bytes of an argument. A decision or message may have 64 KiB, which take three times as much escaped."""
MOST_PARTS: Final = 64 * 1024
"""Commas and opening brackets in it: what has more of them has more than 64 KiB. Each part takes longer than a byte."""

Handler = TypeVar("Handler", bound=Callable[..., Any])

_RAW: Final = inspect.Parameter("payload", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=RawValue)


def takes_raw(handler: Handler) -> Handler:
    """Have the SDK leave the argument of a handler undecoded, which takes ``*args`` all the same.

    It goes by the signature: where another number of arguments comes than that has, it decodes them.
    """
    described: Any = handler
    described.__signature__ = inspect.Signature([_RAW])
    described.__annotations__ = {"payload": RawValue}
    return handler


def decoded(args: Sequence[object]) -> Sequence[object]:
    """Read the arguments that a handler got; one that is too large for that is an `Undecodable`."""
    return [_read(arg) if isinstance(arg, RawValue) else arg for arg in args]


def size(arg: object) -> int:
    """Count the bytes that `decoded` reads of an argument."""
    found = len(arg.payload.data) if isinstance(arg, RawValue) else 0
    return found if found <= MOST_BYTES else 0


def _read(arg: RawValue) -> object:
    data = arg.payload.data
    if len(data) > MOST_BYTES:
        return Undecodable(f"it has {len(data):,} bytes, and {MOST_BYTES:,} are read at most")
    if sum(map(data.count, (b",", b"[", b"{"))) > MOST_PARTS:
        return Undecodable(f"it has more than {MOST_PARTS:,} values")
    [value] = workflow.payload_converter().from_payloads([arg.payload])
    return value


MARK: Final = "handfast.unread.{}"
"""Recorded for a signal that could not be decrypted, by its number in the history."""


class MessageGuard:
    """Says the same of each message on every replay, with whatever keys.

    A signal that could not be decrypted changed nothing, and never will, although a later key ring might read it. One
    that could be, and cannot any more, fails the workflow task until the key is back.
    """

    def __init__(self, marks: TaskMarks) -> None:
        self._marks = marks
        self._signals = 0

    def signal(self, handler: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """Guard the handler of a signal."""

        async def guarded(*args: object) -> None:
            self._marks.note_input()
            await handler(*self._as_recorded(args))

        return guarded

    def handle_update(self, name: str, handler: Callable[..., Any], validator: Callable[..., None]) -> None:
        """Have updates of a name handled, once their validator could read them."""

        def check(*args: object) -> None:
            validator(*decoded(args))

        async def guarded(*args: object) -> Any:
            read = decoded(args)
            require_readable(read)
            await self._marks.after_signals()
            answer = handler(*read)
            return await answer if inspect.isawaitable(answer) else answer

        workflow.set_update_handler(name, takes_raw(guarded), validator=check)

    def _as_recorded(self, args: Sequence[object]) -> Sequence[object]:
        self._signals += 1
        mark = MARK.format(self._signals)
        unreadable = _encrypted(args) is not None
        if not workflow.unsafe.is_replaying():
            if unreadable:
                workflow.patched(mark)
            return args
        if workflow.patched(mark):
            return args if unreadable else [Undecodable("it was encrypted, and could not be read when it came", True)]
        require_readable(args)
        return args


def check_start(start: Undecodable) -> None:
    """Return where a start that cannot be decrypted is to be refused, now and on every replay.

    Raises:
        PayloadUnreadableError: A key is missing that may come back, or the start was readable once.
    """
    if not start.encrypted:
        return
    if start.key is not None or not workflow.patched(MARK.format(0)):
        require_readable([start])


def require_readable(args: Sequence[object]) -> None:
    """Make sure that everything can be read.

    Raises:
        PayloadUnreadableError: It cannot: the workflow task fails, and is tried again.
    """
    found = _encrypted(args)
    if found is not None:
        raise PayloadUnreadableError(found.problem, found.key)


def _encrypted(args: Sequence[object]) -> Undecodable | None:
    return next((each for each in args if isinstance(each, Undecodable) and each.encrypted), None)
