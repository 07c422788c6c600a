"""Which answers of Temporal's server mean that only the signal is left."""

from __future__ import annotations

import pytest
from temporalio.service import RPCError, RPCStatusCode

from handfast.temporal.rpc import is_update_limit

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
