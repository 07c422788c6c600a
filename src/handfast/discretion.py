"""A filter for log handlers that keeps texts of payloads out of logs."""

from __future__ import annotations

import logging
import os
import traceback
from typing import Final

__all__ = ["Discreet"]

TEXTS: Final = "HANDFAST_LOG_TEXTS"
"""Variable that, set to `ALL`, logs texts of libraries and exceptions after all: to find a bug where no secrets are."""
ALL: Final = "1"
OWN: Final = "own"
"""Value of `TEXTS` that logs the messages of exceptions of your own code. `handfast dev` sets it by default."""
LIBRARIES: Final = ("asyncio", "httpcore", "httpcore2", "httpx", "httpx2", "mcp", "openai", "redis", "temporalio")
"""Loggers whose texts may quote requests, payloads and errors: all but the known ones are replaced."""
KNOWN: Final = frozenset(
    {
        "Beginning worker shutdown, will wait %s before cancelling activities",
        "Completing activity as failed",
        "%s of run %s failed with %s",
        "Failed handling activation on workflow with run ID %s",
        "Failed encoding completion on workflow with run ID %s",
        "Failed activation on workflow %s with ID %s and run ID %s",
        "Retrying request to %s in %f seconds",
        "Running activity %s (token %s)",
    }
)
"""Texts of libraries that are kept: their values are names, ids and numbers."""


def shows_texts() -> bool:
    """Return True where the log shows texts of libraries and of all exceptions."""
    return os.environ.get(TEXTS) == ALL


def shows_user_texts() -> bool:
    """Return True where the log shows texts of exceptions of the user's code."""
    return shows_texts() or os.environ.get(TEXTS) == OWN


class Discreet(logging.Filter):
    """Lets every record pass. Records of ours stay as they are: they name only names, ids, sizes and types.

    Records of the libraries that are sent payloads keep their level, place and known texts, and exceptions their types
    and traces. Records of yours keep everything but the texts of exceptions, and with ``HANDFAST_LOG_TEXTS=own`` those
    too. `handfast worker` and `handfast dev` have it; elsewhere ``handler.addFilter(Discreet())``.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """See base class."""
        if shows_texts():
            return True
        if record.name.partition(".")[0] in LIBRARIES:
            _without_texts(record)
        elif shows_user_texts() and record.name.partition(".")[0] != "handfast":
            return True
        if record.exc_info and record.exc_info[1] is not None:
            record.exc_text = traced(record.exc_info[1])
            record.exc_info = None
        return True


def traced(error: BaseException) -> str:
    """Format the types and traces of an exception and its causes, without their messages."""
    lines: list[str] = []
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        told = getattr(each, "type", None)
        lines += [line.rstrip() for line in traceback.format_list(traceback.extract_tb(each.__traceback__))]
        lines.append(type(each).__name__ + (f" ({told})" if isinstance(told, str) and told.isidentifier() else ""))
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return "\n".join(lines)


def _without_texts(record: logging.LogRecord) -> None:
    forwarded = getattr(record, "temporal_log", None)
    if forwarded is not None:  # of the SDK's native part: a constant text, and fields that may quote a failure
        record.msg, record.args = str(forwarded.message), ()
    elif isinstance(record.msg, str):
        known = next((text for text in KNOWN if record.msg.startswith(text)), None)
        if known is None:
            record.msg = f"{record.funcName}:{record.lineno} (its text may quote payloads; {TEXTS}=1 shows it)"
            record.args = ()
    else:
        record.msg, record.args = type(record.msg).__name__, ()
