"""Which exceptions of a tool leave its outcome open."""

from __future__ import annotations

import asyncio
import socket

import httpx2
import pytest

from handfast import OutcomeUnknownError
from handfast.activities.tool.errors import is_left_unknown


def caused(error: Exception, cause: BaseException) -> Exception:
    """The error as one raised from another."""
    error.__cause__ = cause
    return error


def of_module(module: str, name: str, base: type[Exception] = Exception) -> Exception:
    """An exception of a library that need not be installed."""
    kind: type[Exception] = type(name, (base,), {"__module__": module})
    return kind("cut")


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
        pytest.param(caused(ValueError("declined"), ConnectionResetError()), False, id="judged-by-the-tool"),
        pytest.param(SystemExit(1), False, id="no-exception-of-the-call"),
    ],
)
def test_what_leaves_the_outcome_of_a_call_open(error: BaseException, unknown: bool) -> None:
    """A call is in doubt where it was sent and no answer came back, and not where nobody was reached."""
    assert is_left_unknown(error) is unknown
