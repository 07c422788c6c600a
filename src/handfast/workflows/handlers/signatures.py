"""Whose decision it is: signatures are checked by today's keys and clock, which a replay must never ask again.

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
from handfast.workflows.state.run_state import RunState

LONGEST_SHOWN: Final = 256


def refuse_unverified(state: RunState, decision: Decision) -> None:
    """Refuse what is not signed as this worker wants it. For a validator: nothing of it is ever replayed.

    Args:
        state: Of the run.
        decision: That the ledger would take.

    Raises:
        RefusalError: One of its subclasses.
    """
    if state.ledger.receipt_of(decision) is not None:
        return  # it gets the receipt that was recorded, and changes nothing
    verify = workflow.extern_functions().get(VERIFY)
    if verify is None:
        if state.ledger.state.signed:
            raise no_keys(decision)
        return
    refused = verify(to_verify(state, decision).to_wire())
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


def to_verify(state: RunState, decision: Decision, *, stored: bool = False) -> VerifyDecision:
    """What is asked about a decision."""
    info = workflow.info()
    return VerifyDecision(
        decision=decision.to_wire(),
        place=Place(namespace=info.namespace, workflow=info.workflow_id, run=state.asker.workflow_run),
        requested_at=state.ledger.book.entries[decision.id].request.requested_at.isoformat(),
        of=state.ledger.about(decision),
        stored=stored or None,
    )


def no_keys(decision: Decision) -> KeysUnavailableError:
    """The refusal where nobody can verify."""
    return KeysUnavailableError(
        f"{decision.id} takes signed decisions only, and this worker cannot verify one; give it "
        "HandfastPlugin(trusted_keys=…)",
        request=decision.id,
    )


def refusal_from(refused: Refusal) -> RefusalError:
    """The refusal that came as data."""
    return REFUSALS.get(refused.type, RefusalError)(refused.message, **refused.facts)
