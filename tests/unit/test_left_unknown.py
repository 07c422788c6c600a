"""Which exceptions of a tool leave its outcome open."""

from __future__ import annotations

import asyncio
import socket
import urllib.error

import httpx2
import pytest

from handfast import OutcomeUnknownError
from handfast.activities.tool.errors import is_left_unknown


def caused(error: Exception, cause: BaseException) -> Exception:
    """The error as one raised from another."""
    error.__cause__ = cause
    return error


def after(error: Exception, earlier: BaseException) -> Exception:
    """The error as one raised while another was being handled."""
    error.__context__ = earlier
    return error


def nested(depth: int, error: Exception) -> Exception:
    """The error in so many groups."""
    for _ in range(depth):
        error = ExceptionGroup("nested", [error])
    return error


def looped() -> Exception:
    """Two exceptions that are each other's cause."""
    return caused(first := ValueError(), caused(ConnectionResetError(), first))


def of_module(module: str, name: str, base: type[Exception] = Exception, given: object = "cut") -> Exception:
    """An exception of a library that need not be installed."""
    kind: type[Exception] = type(name, (base,), {"__module__": module})
    return kind(given)


@pytest.mark.parametrize(
    ("error", "unknown"),
    [
        pytest.param(OutcomeUnknownError("the till printed nothing"), True, id="the-tool-says-so"),
        pytest.param(ConnectionResetError(), True, id="reset"),
        pytest.param(BrokenPipeError(), True, id="broken-pipe"),
        pytest.param(TimeoutError(), True, id="no-answer-in-time"),
        pytest.param(asyncio.IncompleteReadError(b"", 8), True, id="cut-off"),
        pytest.param(httpx2.ReadTimeout("late"), True, id="httpx-read-timeout"),
        pytest.param(httpx2.RemoteProtocolError("gone"), True, id="httpx-disconnected"),
        pytest.param(of_module("aiohttp.client_exceptions", "ServerDisconnectedError"), True, id="aiohttp"),
        pytest.param(of_module("requests.exceptions", "ConnectionError", OSError), True, id="requests"),
        pytest.param(ConnectionRefusedError(), False, id="refused"),
        pytest.param(httpx2.ConnectError("refused"), False, id="httpx-refused"),
        pytest.param(httpx2.ConnectTimeout("late"), False, id="httpx-never-connected"),
        pytest.param(
            caused(of_module("requests.exceptions", "ConnectionError", OSError), ConnectionRefusedError()),
            False,
            id="requests-refused",
        ),
        pytest.param(caused(ConnectionError("no host"), socket.gaierror()), False, id="no-such-host"),
        pytest.param(ValueError("no such order"), False, id="an-answer"),
        pytest.param(caused(ValueError("declined"), ConnectionResetError()), True, id="an-explicit-cause"),
        pytest.param(after(ValueError("declined"), ConnectionResetError()), False, id="judged-by-the-tool"),
        pytest.param(caused(caused(ValueError("a"), KeyError("b")), TimeoutError()), True, id="the-cause-at-the-end"),
        pytest.param(ExceptionGroup("g", [ConnectionResetError()]), True, id="group-reset"),
        pytest.param(ExceptionGroup("g", [ValueError(), TimeoutError()]), True, id="group-one-of-two"),
        pytest.param(
            ExceptionGroup("g", [ConnectionRefusedError(), BrokenPipeError()]), True, id="group-refused-and-cut"
        ),
        pytest.param(ExceptionGroup("g", [ConnectionRefusedError()]), False, id="group-refused"),
        pytest.param(ExceptionGroup("g", [ValueError("declined")]), False, id="group-of-an-answer"),
        pytest.param(BaseExceptionGroup("g", [SystemExit(), OutcomeUnknownError("?")]), True, id="group-tool-says-so"),
        pytest.param(nested(50, TimeoutError()), True, id="group-fifty-deep"),
        pytest.param(nested(400, TimeoutError()), True, id="group-four-hundred-deep"),
        pytest.param(nested(400, ValueError()), False, id="group-four-hundred-deep-answer"),
        pytest.param(caused(RuntimeError("x"), nested(3, ConnectionResetError())), True, id="caused-by-a-group"),
        pytest.param(
            ExceptionGroup("g", [caused(ValueError(), ConnectionResetError())]), True, id="group-with-a-cause"
        ),
        pytest.param(after(ConnectionResetError(), ConnectionRefusedError()), True, id="refused-first-then-reset"),
        pytest.param(after(TimeoutError(), ConnectionRefusedError()), True, id="refused-first-then-late"),
        pytest.param(after(httpx2.ReadTimeout("late"), httpx2.ConnectError("no")), True, id="httpx-refused-then-late"),
        pytest.param(after(ConnectionRefusedError(), ConnectionResetError()), True, id="reset-first-then-refused"),
        pytest.param(
            caused(httpx2.ConnectError("no"), after(OSError("no"), httpx2.ReadError("cut"))),
            True,
            id="httpx-cut-first-then-refused",
        ),
        pytest.param(
            caused(httpx2.ConnectTimeout("late"), caused(of_module("httpcore", "ConnectTimeout"), TimeoutError())),
            False,
            id="httpx-never-connected-as-it-is",
        ),
        pytest.param(urllib.error.URLError(ConnectionRefusedError()), False, id="urllib-refused"),
        pytest.param(urllib.error.URLError(ConnectionResetError()), True, id="urllib-reset"),
        pytest.param(
            of_module("requests.exceptions", "ConnectionError", OSError, of_module("urllib3", "NewConnectionError")),
            False,
            id="requests-refused-as-it-is",
        ),
        pytest.param(
            of_module("requests.exceptions", "ConnectionError", OSError, of_module("urllib3", "ProtocolError")),
            True,
            id="requests-aborted-as-it-is",
        ),
        pytest.param(looped(), True, id="a-loop-of-causes"),
        pytest.param(SystemExit(1), False, id="no-exception-of-the-call"),
    ],
)
def test_what_leaves_the_outcome_of_a_call_open(error: BaseException, unknown: bool) -> None:
    """A call is in doubt where it was sent and no answer came back, and not where nobody was reached."""
    assert is_left_unknown(error) is unknown
