"""Decide requests of a run: by update, else by signal, signed where the client has a key."""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError
from temporalio.client import WorkflowExecutionDescription

from handfast.client.handle import Handle
from handfast.errors import DecisionInvalidError, StaleDigestError
from handfast.history.reader import requests_in_memo
from handfast.payloads.base import Payload, problems_of
from handfast.payloads.binding import digest_of
from handfast.payloads.remember import Remember, RememberedFor
from handfast.payloads.requests import (
    DECISION_BYTES,
    Decision,
    DecisionOutcome,
    Receipt,
    Request,
    Verdict,
)
from handfast.payloads.signed import About, Place, about
from handfast.temporal.rpc import typed_errors

if TYPE_CHECKING:
    from handfast.signing.signer import Signer

PayloadT = TypeVar("PayloadT", bound=Payload)


async def decide(
    run: Handle,
    request: Request | str,
    verdict: Verdict,
    *,
    decided_by: str,
    note: str | None = None,
    digest: str | None = None,
    decision_id: str | None = None,
    remember: Remember | RememberedFor | None = None,
) -> Receipt:
    """See `Execution.decide`."""
    decision = made(
        Decision,
        id=request if isinstance(request, str) else request.id,
        verdict=verdict,
        decided_by=decided_by,
        digest=digest if digest or isinstance(request, str) else request.digest,
        decision_id=decision_id or str(uuid.uuid4()),
        note=note,
        remember=None if remember is None else Remember.from_wire(remember),
    )
    _bounded(decision)
    if run.stores.signer is not None:
        decision = _bounded(await _signed(run, run.stores.signer, decision, request))
    answer = await run.update_or_signal("decide", decision.to_wire(), _update_id(decision))
    if answer is not None:
        return Receipt.from_wire(answer)
    return Receipt(
        id=decision.id,
        verdict=decision.verdict.kind,
        decided_by=decided_by,
        decision_id=decision.decision_id,
        state="stored",
    )


async def decision(run: Handle, decision_id: str) -> DecisionOutcome:
    """See `Execution.decision`."""
    description = await run.describe()
    with run.needs_worker():
        answer = await run.query(description, "decision", {"decision_id": decision_id})
    return DecisionOutcome.from_wire(answer)


async def _signed(run: Handle, signer: Signer, decision: Decision, given: Request | str) -> Decision:
    """Sign for exactly the request. A decision on one that does not wait any more goes unsigned: the run refuses it."""
    description = await run.describe()
    request = given if isinstance(given, Request) else None
    if request is None:
        waiting = requests_in_memo(dict(await description.memo()))
        request = next((each for each in waiting if each.id == decision.id), None)
    if request is None:
        return decision
    first = description.raw_description.workflow_execution_info.first_run_id
    place = Place(namespace=run.client.namespace, workflow=run.id, run=first)
    _check_shown(request, place)
    if decision.digest is None:
        decision = decision.model_copy(update={"digest": request.digest})
    of = None if decision.remember is None else await _about(run, description, decision, request)
    return signer.sign(decision, place, of)


async def _about(
    run: Handle, description: WorkflowExecutionDescription, decision: Decision, request: Request
) -> About | None:
    """Name the calls that a remembered decision answers: the signature covers them too."""
    if request.arguments is None and decision.remember is not None and decision.remember.of != "tool":
        with typed_errors(run.client, run.id):
            answer = await run.query(description, "pending_requests")
        found = (each for each in map(Request.from_wire, answer) if each.id == request.id)
        request = next((each for each in found if each.arguments is not None), request)
        if request.arguments is None:
            raise DecisionInvalidError(
                f"{request.id} has arguments too large to be listed whole, which a signature has to cover where it "
                "is to be remembered for them; decide it without remember, or for the whole tool",
                request=request.id,
            )
    return about(decision, request.tool or "", request.agent, request.arguments)


def _check_shown(request: Request, place: Place) -> None:
    """Refuse to sign for a digest that is not that of the request as it is shown, in this run."""
    binding = request.binding
    namespace = binding.namespace or place.namespace  # no reply has recorded it yet
    here = Place(namespace=namespace, workflow=binding.workflow, run=binding.run) == place
    whole = request.arguments_preview is None
    if not here or (whole and digest_of(binding, request.arguments) != request.digest):
        raise StaleDigestError(
            f"the digest of {request.id} is not that of what is shown, and was not signed; reload the request",
            request=request.id,
            digest=request.digest,
        )


def made(kind: type[PayloadT], **fields: object) -> PayloadT:
    """Make a verdict or a decision.

    Raises:
        DecisionInvalidError: A field is invalid, or a value has no JSON form.
    """
    try:
        found = kind.model_validate(fields)
        found.model_dump_json()
    except ValidationError as error:
        raise DecisionInvalidError("; ".join(problems_of(error))) from None
    except PydanticSerializationError:
        raise DecisionInvalidError("a decision holds what has no JSON form, such as a lone surrogate") from None
    return found


def _bounded(decision: Decision) -> Decision:
    if decision.size > DECISION_BYTES:
        raise DecisionInvalidError(f"a decision may have {DECISION_BYTES // 1024} KiB at most", request=decision.id)
    return decision


def _update_id(decision: Decision) -> str:
    """Make an update id that covers the content: a repeated id gets the server's first answer, whatever is sent."""
    content = hashlib.sha256(decision.model_dump_json(exclude={"signature"}).encode()).hexdigest()
    return f"{decision.decision_id}:{content[:16]}"
