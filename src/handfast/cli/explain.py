"""Turn an exception into an exit code and a sentence with the remedy."""

from __future__ import annotations

from temporalio.service import RPCError, RPCStatusCode

from handfast.cli import exits
from handfast.errors import HandfastError, RunExistsError
from handfast.temporal.rpc import is_failed, is_missing_namespace


def explain(error: Exception) -> tuple[int, str]:
    """Return the exit code and the line for *error*."""
    if isinstance(error, RunExistsError):
        return exits.code_of(error), f"a run with the id {error.run_id} is going on; add --attach, or take another --id"
    if isinstance(error, HandfastError):
        return exits.code_of(error), str(error)
    if isinstance(error, RPCError):
        return explain_rpc(error)
    if isinstance(error, RuntimeError) and "amespace" in str(error) and "not found" in str(error):
        return exits.NOT_SET_UP, f"{error}; create the namespace, or name another one with --namespace"
    if isinstance(error, TimeoutError):
        return exits.UNCONFIRMED, str(error) or "no answer in time; what the server accepted is not lost"
    return exits.BUG, f"unexpected {type(error).__name__}: {error}"


def explain_rpc(error: RPCError) -> tuple[int, str]:
    """Do the same for an error of Temporal's server."""
    text = error.message
    if is_missing_namespace(error):
        return exits.NOT_SET_UP, f"{text}; create the namespace, or name another one with --namespace"
    if is_failed(error):
        return (
            exits.NO_SERVER,
            f"the Temporal server could not do it ({text}); try again, and look at its load and disk",
        )
    match error.status:
        case RPCStatusCode.UNAVAILABLE | RPCStatusCode.CANCELLED:
            return exits.NO_SERVER, f"the Temporal server went away ({text}); what it accepted is not lost"
        case RPCStatusCode.DEADLINE_EXCEEDED:
            return exits.UNCONFIRMED, f"the Temporal server did not answer in time ({text}); try again"
        case RPCStatusCode.PERMISSION_DENIED | RPCStatusCode.UNAUTHENTICATED:
            return exits.NOT_SET_UP, f"the Temporal server refuses it ({text}); check your API key or certificates"
        case RPCStatusCode.NOT_FOUND:
            return exits.NOT_FOUND, text
        case RPCStatusCode.ALREADY_EXISTS | RPCStatusCode.FAILED_PRECONDITION:
            return exits.NOT_SET_UP, f"the Temporal server does not do it: {text}"
        case RPCStatusCode.INVALID_ARGUMENT:
            return exits.BAD_INPUT, f"the Temporal server does not take it: {text}"
        case _:
            return exits.BUG, f"unexpected answer of the Temporal server ({error.status.name}): {text}"
