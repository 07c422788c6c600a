"""Translate errors of Temporal's server into ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure, WorkflowNotReadyFailure
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from handfast.errors import (
    NamespaceNotFoundError,
    PayloadInvalidError,
    RunNotFoundError,
    ServerFailedError,
    ServerUnavailableError,
    SignalLimitError,
)

AWAY: Final = frozenset({RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED})
"""The SDK names a deadline of its own CANCELLED; a cancelled caller gets `asyncio.CancelledError`."""
REASON_LENGTH: Final = 160
"""Characters of a reason from the server or the SDK that an error repeats."""


FAILED: Final = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.UNKNOWN,
        RPCStatusCode.INTERNAL,
        RPCStatusCode.ABORTED,
        RPCStatusCode.DATA_LOSS,
        RPCStatusCode.RESOURCE_EXHAUSTED,
    }
)
"""Answers of a server that is there and could not do the work: it is overloaded, gave up a workflow task with the
updates in it ("workflow update was aborted"), meets a limit of its own, or cannot write ("shard status unknown", a
full disk)."""
NOBODY_THERE: Final = (
    "connect error",
    "transport error",
    "dns error",
    "h2 protocol error",
    "error trying to connect",
    "connection refused",
    "connection reset",
    "connection closed",
    "connection error",
    "broken pipe",
    "operation was canceled",
    "upstream",
    "mapped from http status",
    "name resolution",
)
"""Words with which the SDK's transport, or a proxy, says that it reached no server. Nothing else tells these answers
from a server's own: both come as UNAVAILABLE, without details."""


@contextmanager
def typed_errors(client: Client, run: str | None = None) -> Iterator[None]:
    """Raise our own errors for the server's errors inside, and the SDK's where we have none.

    Args:
        client: The client of the calls inside.
        run: Id of the run that the calls are about; None where they are about none.

    Raises:
        ServerUnavailableError: The server does not answer.
        ServerFailedError: The server answers, and could not do the work.
        SignalLimitError: *run* takes no more signals in the history that it has.
        NamespaceNotFoundError: The server does not have the client's namespace.
        RunNotFoundError: The server does not know *run*.
        PayloadInvalidError: The request is too large for the server.
    """
    try:
        yield
    except RPCError as error:
        meant = _meaning(error, client, run)
        if meant is None:
            raise
        raise meant from error


def is_missing_namespace(error: RPCError) -> bool:
    """Tell a missing namespace from a missing run; the text cannot, as a run's id may contain the word."""
    return error.status is RPCStatusCode.NOT_FOUND and any(
        detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in error.grpc_status.details
    )


def is_lost_place(error: RPCError) -> bool:
    """Return True where the page token of a history has become invalid: read it from the start.

    Seen with the development server under load.
    """
    return error.status is RPCStatusCode.INVALID_ARGUMENT and any(
        detail.type_url.endswith(".CurrentBranchChangedFailure") for detail in error.grpc_status.details
    )


def is_failed(error: RPCError) -> bool:
    """Return True where a server answered that it could not do the work now: the request may be sent again."""
    return error.status in FAILED and not _is_too_large(error) and not _is_nobody(error)


def _is_nobody(error: RPCError) -> bool:
    text = error.message.lower()
    return any(each in text for each in NOBODY_THERE)


def is_signal_limit(error: RPCError) -> bool:
    """Return True where a run takes no further signal: its history has had its 10,000. Updates still pass."""
    return error.status is RPCStatusCode.INVALID_ARGUMENT and "limit for signal events" in error.message


def is_update_limit(error: RPCError) -> bool:
    """Return True where a run takes no further update: it had its 2,000, or too many are under way. Signals pass."""
    if error.status is RPCStatusCode.RESOURCE_EXHAUSTED:
        return True
    text = error.message.lower()
    return error.status is RPCStatusCode.FAILED_PRECONDITION and "limit" in text and "updates" in text


def is_not_ready(error: RPCError) -> bool:
    """Return True where a run takes no update because its workflow task fails on every worker. A signal is stored."""
    return error.status is RPCStatusCode.FAILED_PRECONDITION and any(
        detail.Is(WorkflowNotReadyFailure.DESCRIPTOR) for detail in error.grpc_status.details
    )


def _meaning(error: RPCError, client: Client, run: str | None) -> Exception | None:
    reason, address = " ".join(error.message.split())[:REASON_LENGTH], client.service_client.config.target_host
    if is_failed(error):
        return ServerFailedError(address, reason)
    if error.status in AWAY or (error.status in FAILED and _is_nobody(error)):
        return ServerUnavailableError(address, reason)
    if is_signal_limit(error) and run is not None:
        return SignalLimitError(run)
    if is_missing_namespace(error):
        return NamespaceNotFoundError(client.namespace)
    if error.status is RPCStatusCode.NOT_FOUND and run is not None:
        return RunNotFoundError(run)
    if _is_too_large(error):
        return PayloadInvalidError("request to the server", [reason])
    return None


def _is_too_large(error: RPCError) -> bool:
    text = error.message.lower()
    if error.status is RPCStatusCode.INVALID_ARGUMENT:
        return "size exceeds limit" in text
    return error.status is RPCStatusCode.RESOURCE_EXHAUSTED and "larger than max" in text
