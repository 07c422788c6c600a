"""Binds requests to what they show, and calls to what was approved. Pure.

A digest is computed when its request opens, of nothing but what is recorded: a replay, which may take place in another
namespace and on a later worker, has to compute what people were shown.
"""

from __future__ import annotations

from handfast.payloads.binding import Bound, difference, digest_of, text_digest
from handfast.payloads.canonical import sha256_digest
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import ApprovalPlan
from handfast.payloads.requests import Request
from handfast.workflows.frame.frame import Call, Frame
from handfast.workflows.frame.identity import Identity
from handfast.workflows.ledger.entry import Entry


def with_digest(
    request: Request, arguments: JsonObject | None, *, schema: str | None = None, policy: str | None = None
) -> Request:
    """Compute the digest of a request that is about to open, when everything that it covers is known."""
    deadline = None if request.deadline is None else request.deadline.isoformat().replace("+00:00", "Z")
    covered = {"schema_digest": schema, "policy_digest": policy, "deadline": deadline}
    request = request.model_copy(update={"bound": request.bound.model_copy(update=covered)})
    return request.model_copy(update={"digest": digest_of(request.binding, arguments)})


def bound_to(frame: Frame, identity: Identity) -> Bound:
    """Return the part of a binding that all requests of the frame share."""
    return Bound(namespace=frame.namespace, workflow=identity.workflow_id, run=identity.workflow_run)


def policy_of(plan: ApprovalPlan | None) -> str | None:
    """Return the digest of an approval rule's answer."""
    return None if plan is None else text_digest(plan.to_wire())


def bind_recalled(entry: Entry, request: Request, arguments: JsonObject) -> None:
    """Bind a standing decision to the call that it answers in the place of *request*."""
    entry.binding = request.model_copy(update={"id": entry.request.id}).binding
    entry.digest = digest_of(entry.binding, arguments)


def is_bound(frame: Frame, call: Call, arguments: JsonObject, identity: Identity) -> bool:
    """Return whether a call that is about to run is the one that was approved.

    A replay computes the digest anew, on code that may read other arguments in the reply than those that people were
    shown: so these are compared with what the plan has recorded.
    """
    if call.digest is None:
        return True
    assert call.binding is not None
    recorded = call.plan.arguments_digest
    if recorded is not None and call.arguments is None and sha256_digest(arguments) != recorded:
        return False
    changed = difference(
        call.digest,
        call.binding,
        arguments,
        workflow=identity.workflow_id,
        run=identity.workflow_run,
        request=call.released_by,
        agent_path=frame.agent_path,
        tool=call.tool,
        call=call.call_id,
    )
    return changed is None
