"""What an error of Temporal's server means to whoever called us: one place, so that every call says the same."""

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
"""CANCELLED is how the SDK names a deadline of its own; a cancelled caller gets `asyncio.CancelledError`."""
REASON_LENGTH: Final = 160
"""Characters of a reason of the server's, or of the SDK's, that an error repeats."""


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
"""Answers of a server that is there and could not do it: it is overloaded, gave up a workflow task with the updates in
it ("workflow update was aborted"), meets a limit of its own, or cannot write ("shard status unknown", a full disk)."""
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
    """Raise our own errors for what the server answers inside, and the SDK's where we have none.

    Args:
        client: Whom the calls inside go through.
        run: The run that they are about; None for calls about none.

    Raises:
        ServerUnavailableError: It is away.
        ServerFailedError: It answers, and could not do it.
        SignalLimitError: *run* takes no more signals in the history that it has.
        NamespaceNotFoundError: It does not have the client's namespace.
        RunNotFoundError: It does not know *run*.
        PayloadInvalidError: It does not take as much at once.
    """
    try:
        yield
    except RPCError as error:
        meant = _meaning(error, client, run)
        if meant is None:
            raise
        raise meant from error


def is_missing_namespace(error: RPCError) -> bool:
    """Whether it is the namespace that was not found: a run's id may well contain that word."""
    return error.status is RPCStatusCode.NOT_FOUND and any(
        detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in error.grpc_status.details
    )


def is_lost_place(error: RPCError) -> bool:
    """Whether the server no longer knows the place up to which a history was read: it is to be read from the start."""
    return error.status is RPCStatusCode.INVALID_ARGUMENT and any(
        detail.type_url.endswith(".CurrentBranchChangedFailure") for detail in error.grpc_status.details
    )


def is_failed(error: RPCError) -> bool:
    """Whether a server answered that it could not do it, now: what was asked may be asked again."""
    return error.status in FAILED and not _is_too_large(error) and not _is_nobody(error)


def _is_nobody(error: RPCError) -> bool:
    text = error.message.lower()
    return any(each in text for each in NOBODY_THERE)


def is_signal_limit(error: RPCError) -> bool:
    """Whether a run takes no further signal: its history has had its 10,000. Updates still pass."""
    return error.status is RPCStatusCode.INVALID_ARGUMENT and "limit for signal events" in error.message


def is_update_limit(error: RPCError) -> bool:
    """Whether a run takes no further update: it had its 2,000, or too many are under way. Signals still pass."""
    if error.status is RPCStatusCode.RESOURCE_EXHAUSTED:
        return True
    text = error.message.lower()
    return error.status is RPCStatusCode.FAILED_PRECONDITION and "limit" in text and "updates" in text


def is_not_ready(error: RPCError) -> bool:
    """Whether a run takes no update because workers fail on it: as where there is no worker, a signal is stored."""
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
