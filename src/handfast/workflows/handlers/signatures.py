"""Checks whose decision it is: signatures are checked by today's keys and clock, which a replay must never ask again.

An update's validator is not replayed, so it asks the worker at once; for a signal an activity does, and the answer is
recorded. What neither refuses is verified in a run that is recorded as signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from temporalio import workflow

from handfast.errors import REFUSALS, KeysUnavailableError, RefusalError
from handfast.payloads.json_profile import scrub
from handfast.payloads.requests import Decision
from handfast.payloads.signed import REFUSED, VERIFY, Place, Refusal, RefusedDecision, VerifyDecision
from handfast.workflows.frame.identity import Identity
from handfast.workflows.ledger.ledger import Ledger

LONGEST_SHOWN: Final = 256


def refuse_unverified(decision: Decision, ledger: Ledger, identity: Identity) -> None:
    """Refuse an unsigned or wrongly signed decision. For validators: a replay must not ask for today's keys.

    Args:
        decision: That the ledger would take.
        ledger: Of the workflow.
        identity: Likewise.

    Raises:
        RefusalError: One of its subclasses.
    """
    if ledger.receipt_of(decision) is not None:
        return  # it gets the receipt that was recorded, and changes nothing
    verify = workflow.extern_functions().get(VERIFY)
    if verify is None:
        if ledger.state.signed:
            raise no_keys(decision)
        return
    refused = verify(to_verify(decision, ledger, identity).to_wire())
    if refused is not None:
        raise refusal_from(Refusal.from_wire(refused))


def report_refused(args: Sequence[object], refusal: RefusalError, way: Literal["update", "signal"]) -> None:
    """Let a worker in production mode tell its operator of a decision that did not count; once, and not in a replay.

    Args:
        args: As they came in: what cannot be read as a decision may name a request all the same.
        refusal: Why.
        way: How they came in.
    """
    report = workflow.extern_functions().get(REFUSED)
    if report is None or workflow.unsafe.is_replaying():
        return
    given = args[0] if args else None
    facts = given if isinstance(given, dict) else {"id": given}
    signature = facts.get("signature")
    told = RefusedDecision(
        run=workflow.info().workflow_id,
        request=_text(facts.get("id")),
        key=_text(signature.get("kid")) if isinstance(signature, dict) else None,
        by=_text(facts.get("decided_by")),
        type=type(refusal).__name__,
        way=way,
    )
    report(told.to_wire())


def _text(value: object) -> str | None:
    return scrub(value[:LONGEST_SHOWN]) if isinstance(value, str) else None


def to_verify(decision: Decision, ledger: Ledger, identity: Identity, *, stored: bool = False) -> VerifyDecision:
    """Return the question whether a decision is signed by somebody who may decide."""
    info = workflow.info()
    return VerifyDecision(
        decision=decision.to_wire(),
        place=Place(namespace=info.namespace, workflow=info.workflow_id, run=identity.workflow_run),
        requested_at=ledger.book.entries[decision.id].request.requested_at.isoformat(),
        of=ledger.about(decision),
        stored=stored or None,
    )


def no_keys(decision: Decision) -> KeysUnavailableError:
    """Return the refusal of a worker without keys."""
    return KeysUnavailableError(
        f"{decision.id} takes signed decisions only, and this worker cannot verify one; give it "
        "HandfastPlugin(trusted_keys=…)",
        request=decision.id,
    )


def refusal_from(refused: Refusal) -> RefusalError:
    """Return a refusal that came as data."""
    return REFUSALS.get(refused.type, RefusalError)(refused.message, **refused.facts)
