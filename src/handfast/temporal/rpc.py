"""What an error of Temporal's server means to whoever called us: one place, so that every call says the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure, WorkflowNotReadyFailure
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from handfast.errors import NamespaceNotFoundError, PayloadInvalidError, RunNotFoundError, ServerUnavailableError

AWAY: Final = frozenset({RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED})
"""CANCELLED is how the SDK names a deadline of its own; a cancelled caller gets `asyncio.CancelledError`."""
REASON_LENGTH: Final = 160
"""Characters of a reason of the server's, or of the SDK's, that an error repeats."""


@contextmanager
def typed_errors(client: Client, run: str | None = None) -> Iterator[None]:
    """Raise our own errors for what the server answers inside, and the SDK's where we have none.

    Args:
        client: Whom the calls inside go through.
        run: The run that they are about; None for calls about none.

    Raises:
        ServerUnavailableError: It is away.
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
    if error.status in AWAY:
        reason = " ".join(error.message.split())[:REASON_LENGTH]
        return ServerUnavailableError(client.service_client.config.target_host, reason)
    if is_missing_namespace(error):
        return NamespaceNotFoundError(client.namespace)
    if error.status is RPCStatusCode.NOT_FOUND and run is not None:
        return RunNotFoundError(run)
    if _is_too_large(error):
        return PayloadInvalidError("request to the server", [" ".join(error.message.split())[:REASON_LENGTH]])
    return None


def _is_too_large(error: RPCError) -> bool:
    text = error.message.lower()
    if error.status is RPCStatusCode.INVALID_ARGUMENT:
        return "size exceeds limit" in text
    return error.status is RPCStatusCode.RESOURCE_EXHAUSTED and "larger than max" in text
