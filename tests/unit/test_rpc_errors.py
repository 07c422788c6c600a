"""What the answers of Temporal's server mean to callers."""

from __future__ import annotations

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from handfast.errors import (
    HandfastError,
    PayloadInvalidError,
    ServerFailedError,
    ServerUnavailableError,
    SignalLimitError,
)
from handfast.temporal.rpc import is_update_limit, typed_errors

TOTAL = "The limit on the total number of distinct updates in this workflow has been reached (2000). Make sure…"
IN_FLIGHT = "limit on number of concurrent in-flight updates has been reached (10)"


@pytest.mark.parametrize(
    ("status", "message", "limit"),
    [
        pytest.param(RPCStatusCode.FAILED_PRECONDITION, TOTAL, True, id="2000-in-all"),
        pytest.param(RPCStatusCode.RESOURCE_EXHAUSTED, IN_FLIGHT, True, id="10-under-way"),
        pytest.param(RPCStatusCode.FAILED_PRECONDITION, "workflow is being reset", False, id="another-condition"),
        pytest.param(RPCStatusCode.NOT_FOUND, TOTAL, False, id="not-found"),
        pytest.param(RPCStatusCode.UNAVAILABLE, "tcp connect error", False, id="server-away"),
    ],
)
def test_a_full_run_is_told_from_other_errors(status: RPCStatusCode, message: str, limit: bool) -> None:
    """Only where a run takes no further update is the decision stored instead; other errors are told."""
    assert is_update_limit(RPCError(message, status, b"")) is limit


@pytest.mark.parametrize(
    ("status", "message", "means"),
    [
        pytest.param(RPCStatusCode.UNAVAILABLE, "tcp connect error", ServerUnavailableError, id="nobody-listens"),
        pytest.param(RPCStatusCode.UNKNOWN, "transport error", ServerUnavailableError, id="connection-broke"),
        pytest.param(RPCStatusCode.UNAVAILABLE, "no healthy upstream", ServerUnavailableError, id="proxy-alone"),
        pytest.param(RPCStatusCode.CANCELLED, "Timeout expired", ServerUnavailableError, id="silent"),
        pytest.param(RPCStatusCode.UNAVAILABLE, "workflow update was aborted", ServerFailedError, id="aborted-update"),
        pytest.param(RPCStatusCode.UNAVAILABLE, "shard status unknown", ServerFailedError, id="full-disk"),
        pytest.param(
            RPCStatusCode.UNKNOWN, "something went wrong, please retry (f8a)", ServerFailedError, id="its-bug"
        ),
        pytest.param(RPCStatusCode.RESOURCE_EXHAUSTED, "namespace rate limit exceeded", ServerFailedError, id="busy"),
        pytest.param(RPCStatusCode.RESOURCE_EXHAUSTED, IN_FLIGHT, ServerFailedError, id="10-under-way"),
        pytest.param(
            RPCStatusCode.RESOURCE_EXHAUSTED, "received message larger than max", PayloadInvalidError, id="too-large"
        ),
        pytest.param(
            RPCStatusCode.INVALID_ARGUMENT,
            "exceeded workflow execution limit for signal events",
            SignalLimitError,
            id="10000-signals",
        ),
    ],
)
async def test_no_server_is_said_only_where_none_answers(
    status: RPCStatusCode, message: str, means: type[HandfastError]
) -> None:
    """XB3: a server that answers and cannot do it, for its load, its disk or a limit, is not said to be away."""
    client = await Client.connect("127.0.0.1:1", lazy=True)
    with pytest.raises(means), typed_errors(client, "run-1"):
        raise RPCError(message, status, b"")
