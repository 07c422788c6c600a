"""Binds requests to what they show, and calls to what was approved. Pure.

A digest is computed when its request opens, of nothing but what is recorded: a replay, which may take place in another
namespace and on a later worker, has to compute what people were shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from handfast.payloads.binding import Bound, difference, digest_of, former_digest_of, text_digest
from handfast.payloads.canonical import sha256_digest
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import ApprovalPlan
from handfast.payloads.requests import Request
from handfast.workflows.frame.frame import Call, Frame
from handfast.workflows.ledger.entry import Entry


def sealed(
    request: Request,
    frame: Frame,
    arguments: JsonObject | None,
    asker: Asker,
    *,
    schema: str | None = None,
    policy: str | None = None,
) -> Request:
    """Compute the digest of a request that is about to open, once everything that it covers is known."""
    if frame.namespace is not None:
        bound = Bound(
            namespace=frame.namespace,
            workflow=asker.workflow_id,
            run=asker.workflow_run,
            schema_digest=schema,
            policy_digest=policy,
            deadline=None if request.deadline is None else request.deadline.isoformat().replace("+00:00", "Z"),
        )
        request = request.model_copy(update={"bound": bound})
    return request.model_copy(update={"digest": digest_for(request, arguments, asker)})


def digest_for(request: Request, arguments: JsonObject | None, asker: Asker) -> str:
    """The digest of *request* for *arguments*, which need not be those that it opened with."""
    binding = request.binding
    if binding is None:
        return former_digest_of(request.id, request.agent_path, request.tool, arguments, asker.workflow_run)
    return digest_of(binding, arguments)


def policy_of(plan: ApprovalPlan | None) -> str | None:
    """The digest of what an approval rule said."""
    return None if plan is None else text_digest(plan.to_wire())


def bind_recalled(entry: Entry, request: Request, arguments: JsonObject, asker: Asker) -> None:
    """Bind a remembered decision to the call that it answers, in place of *request*, which nobody is asked."""
    answered = request.model_copy(update={"id": entry.request.id})
    entry.binding, entry.digest = answered.binding, digest_for(answered, arguments, asker)


def is_bound(frame: Frame, call: Call, arguments: JsonObject, asker: Asker) -> bool:
    """Whether a call that is about to run is what was approved.

    A replay computes the digest anew, on code that may read other arguments in the reply than those that people were
    shown: so these are compared with what the plan has recorded.
    """
    if call.digest is None:
        return True
    recorded = call.plan.arguments_digest
    if recorded is not None and call.arguments is None and sha256_digest(arguments) != recorded:
        return False
    released_by = call.released_by or ""
    if call.binding is None:
        former = former_digest_of(released_by, frame.agent_path, call.tool, arguments, asker.workflow_run)
        return call.digest == former
    changed = difference(
        call.digest,
        call.binding,
        arguments,
        workflow=asker.workflow_id,
        run=asker.workflow_run,
        request=released_by,
        agent_path=frame.agent_path,
        tool=call.tool,
        call=call.call_id,
    )
    return changed is None


@dataclass(frozen=True)
class Asker:
    """Whose requests they are, and what makes them.

    Attributes:
        patched: Whether a request is shaped by a rule that histories from before know nothing of.
    """

    workflow_id: str
    workflow_run: str
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    patched: Callable[[str], bool]
