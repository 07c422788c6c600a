"""Arguments of handlers, unread until their size is known: to read two megabytes takes longer than to refuse them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from temporalio import workflow
from temporalio.common import RawValue

from handfast.payloads.base import Undecodable

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
