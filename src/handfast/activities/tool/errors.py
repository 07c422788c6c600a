"""Judges a tool's exception: if its call may have taken effect, and the words for the model."""

from __future__ import annotations

import asyncio
import http.client
import socket
from collections.abc import Iterator
from enum import Enum, auto
from typing import Any, Final

from handfast.activities.runtime.outputs import bounded_text
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import Problem, ask
from handfast.activities.runtime.user_errors import log_answer
from handfast.definitions.context import ToolContext
from handfast.definitions.tools.function_tool import Tool
from handfast.errors import OutcomeUnknownError
from handfast.payloads.tool_call import ToolOutcome


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


_CUT_AFTERWARDS: Final = (BrokenPipeError, ConnectionAbortedError, ConnectionResetError)
"""A connection that was there broke: no cause makes that a peer who was never reached."""
_CUT: Final = (ConnectionError, TimeoutError, asyncio.IncompleteReadError, http.client.IncompleteRead)
_NOT_REACHED: Final = (ConnectionRefusedError, socket.gaierror)
_HTTPX: Final = ("httpx", "httpx2", "httpcore", "httpcore2")
_HTTPX_CUT: Final = ("ReadError", "ReadTimeout", "WriteError", "WriteTimeout", "RemoteProtocolError")
_HTTPX_NOT_REACHED: Final = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol")
_CUT_BY_NAME: Final = frozenset(
    {
        *((library, name) for library in _HTTPX for name in _HTTPX_CUT),
        *(("aiohttp", name) for name in ("ServerDisconnectedError", "ClientOSError", "ClientPayloadError")),
        *(("requests", name) for name in ("ConnectionError", "ReadTimeout", "ChunkedEncodingError")),
        *(("urllib3", name) for name in ("ProtocolError", "ReadTimeoutError")),
    }
)
"""Exceptions of well-known clients, which need not be installed: the module's first name, and the class."""
_NOT_REACHED_BY_NAME: Final = frozenset(
    {
        *((library, name) for library in _HTTPX for name in _HTTPX_NOT_REACHED),
        *(("aiohttp", name) for name in ("ClientConnectorError", "ConnectionTimeoutError")),
        *(("requests", name) for name in ("ConnectTimeout", "SSLError", "ProxyError")),
        *(("urllib3", name) for name in ("NewConnectionError", "ConnectTimeoutError", "ProxyError")),
    }
)

DEEPEST: Final = 100
"""Exceptions in exceptions that are looked through one by one."""
WORDING_S: Final = 5.0
"""Time limit of a tool's `on_error`; after it the default words stand."""


class _Reached(Enum):
    """Verdict of an exception on its request: it may have reached the other side, or it did not."""

    PERHAPS = auto()
    NO = auto()


def is_left_unknown(error: BaseException) -> bool:
    """Return True where an exception leaves the outcome of its call unknown.

    So it is where a connection broke or nothing came back in time, and where the tool says so itself; not where nobody
    was reached in the first place. An exception is judged by all that it carries: the members of groups at any depth,
    and its explicit causes. A tool that has judged a broken connection itself raises its own exception ``from None``.
    """
    return _reached(error, ()) is _Reached.PERHAPS


def _reached(error: BaseException, above: tuple[BaseException, ...]) -> _Reached | None:
    if any(each is error for each in above):
        return None
    if len(above) >= DEEPEST:  # nobody judges by hand what lies so deep: whatever may be a doubt is one
        return _Reached.PERHAPS if carries(error, (OutcomeUnknownError, *_CUT)) else None
    if isinstance(error, OutcomeUnknownError):
        return _Reached.PERHAPS
    names = _names(error)
    if names & _NOT_REACHED_BY_NAME:
        # A client's own word. Its causes tell how the connecting failed, with a timeout perhaps.
        return _Reached.PERHAPS if _sent_before(error, _CUT_BY_NAME) else _Reached.NO
    parts = {_reached(each, (*above, error)) for each in carried(error)}
    if _Reached.PERHAPS in parts:
        return _Reached.PERHAPS
    if isinstance(error, _NOT_REACHED):
        return _Reached.PERHAPS if _sent_before(error, _CUT_BY_NAME, *_CUT) else _Reached.NO
    if isinstance(error, _CUT_AFTERWARDS):
        return _Reached.PERHAPS
    if isinstance(error, _CUT) or names & _CUT_BY_NAME:
        return _Reached.NO if _Reached.NO in parts else _Reached.PERHAPS
    return _Reached.NO if _Reached.NO in parts else None


def _sent_before(error: BaseException, by_name: frozenset[tuple[str, str]], *kinds: type[Exception]) -> bool:
    """Return True where the refused attempt followed a broken one, which may have sent the request."""
    return any(
        (isinstance(each, kinds) and not isinstance(each, _NOT_REACHED)) or _names(each) & by_name
        for each in _before(error)
    )


def _names(error: BaseException) -> frozenset[tuple[str, str]]:
    return frozenset((kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__)


def _before(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions that led to *error*, its implicit context too."""
    seen = {id(error)}
    each = _led_to(error)
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = _led_to(each)


def _led_to(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


async def worded(
    runtime: Runtime, tool: Tool[..., Any], context: ToolContext[Any], error: BaseException, ended: ToolOutcome
) -> ToolOutcome:
    """Ask the tool's `on_error` for the words that the model reads; the default ones stand where it gives none."""
    if not callable(tool.on_error):
        return ended
    name, then = f"on_error of {tool.name}", "the default text is used"
    text = await ask(tool.on_error, context, error, name=name, within=WORDING_S, threads=runtime.threads, then=then)
    if isinstance(text, Problem):
        return ended
    if not isinstance(text, str):
        log_answer(name, f"answered {type(text).__name__}, not a text", then)
        return ended
    return ended.model_copy(update={"output": bounded_text(text)})
