"""Takes an approval back that no longer holds, and asks anew with what has changed."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

from handfast.payloads.changed import ChangedFacts, Difference
from handfast.workflows.frame.frame import Call, Frame
from handfast.workflows.ledger import requests
from handfast.workflows.state.run_state import RunState

MOST_REASKED: Final = 10
"""How often a call is asked about again: where approvals come from a program, two programs could keep a run busy for
ever."""


def was_shown(state: RunState, call: Call, difference: Difference) -> bool:
    """Whether whoever approved the call has seen this very difference: to show it again would never end."""
    if call.released_by is None:
        return False
    approved = state.ledger.book.entries[call.released_by].request
    shown = (approved.facts or {}).get("changed")
    if shown is None or approved.call_id != call.call_id:
        return False
    return Difference.from_wire(shown) == difference


def ask_anew(state: RunState, frame: Frame, call: Call, difference: Difference) -> bool:
    """Open a request about a call that was about to run, in place of its approval where it had one; False where that
    was often enough."""
    if call.reasked == MOST_REASKED:
        return False
    approved = None if call.released_by is None else state.ledger.book.entries[call.released_by]
    by = None if approved is None else approved.closed_by
    facts = ChangedFacts(**difference.model_dump(), request=call.released_by, by=by)
    if approved is not None:
        state.ledger.log.note_void(frame.id, call, facts.why, workflow.now())
    request = requests.changed(
        frame, call, state.arguments_of(frame, call), state.asker, approved=approved, facts=facts
    )
    call.edited, call.arguments = call.arguments, None
    call.reasked += 1
    call.allowed = False
    call.released_by, call.digest, call.binding, call.proofs = None, None, None, None
    call.request = state.ledger.book.open(request)
    call.state = "asking"
    return True


def give_up(state: RunState, frame: Frame, call: Call, difference: Difference) -> None:
    """Log that a call is asked about no more, although its approval no longer holds."""
    state.ledger.log.note_void(frame.id, call, difference.why, workflow.now(), "give_up")
