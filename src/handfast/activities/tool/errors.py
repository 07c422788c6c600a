"""Which exceptions of a tool leave open whether its call took effect: it was sent, and no answer came back."""

from __future__ import annotations

import asyncio
import http.client
import socket
from collections.abc import Iterator
from typing import Any, Final

from handfast.activities.runtime.outputs import bounded_text
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import Problem, ask
from handfast.activities.runtime.user_errors import log_answer
from handfast.definitions.context import ToolContext
from handfast.definitions.tools.function_tool import Tool
from handfast.errors import OutcomeUnknownError
from handfast.payloads.tool_call import ToolOutcome

_CUT: Final = (ConnectionError, TimeoutError, asyncio.IncompleteReadError, http.client.IncompleteRead)
_NOT_REACHED: Final = (ConnectionRefusedError, socket.gaierror)
_HTTPX: Final = ("ReadError", "ReadTimeout", "WriteError", "WriteTimeout", "RemoteProtocolError")
_CUT_BY_NAME: Final = frozenset(
    {
        *(("httpx", name) for name in _HTTPX),
        *(("httpx2", name) for name in _HTTPX),
        *(("aiohttp", name) for name in ("ServerDisconnectedError", "ClientOSError", "ClientPayloadError")),
        *(("requests", name) for name in ("ConnectionError", "ReadTimeout", "ChunkedEncodingError")),
        *(("urllib3", name) for name in ("ProtocolError", "ReadTimeoutError")),
    }
)
"""Those of well-known clients, which need not be installed: the module's first name, and the class."""
_NOT_REACHED_BY_NAME: Final = frozenset(
    {
        *(("aiohttp", name) for name in ("ClientConnectorError", "ConnectionTimeoutError")),
        *(("requests", name) for name in ("ConnectTimeout", "SSLError", "ProxyError")),
    }
)


WORDING_S: Final = 5.0
"""How long a tool's `on_error` may take before the default words are used."""


def is_left_unknown(error: object) -> bool:
    """Whether the outcome of a call that ended with this exception is unknown.

    So it is where a connection broke or nothing came back in time, and where the tool says so itself; not where nobody
    was reached in the first place. What a tool makes an exception of its own of, it has judged itself.
    """
    if isinstance(error, OutcomeUnknownError):
        return True
    if not isinstance(error, Exception):
        return False
    chain = list(_chain(error))
    if any(isinstance(each, _NOT_REACHED) or _names(each) & _NOT_REACHED_BY_NAME for each in chain):
        return False
    return isinstance(error, _CUT) or bool(_names(error) & _CUT_BY_NAME)


def _names(error: BaseException) -> frozenset[tuple[str, str]]:
    return frozenset((kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


async def worded(
    runtime: Runtime, tool: Tool[..., Any], context: ToolContext[Any], error: BaseException, ended: ToolOutcome
) -> ToolOutcome:
    """Let the tool's `on_error` say what the model reads; in the default words where it gives no text."""
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
