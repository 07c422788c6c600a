"""The run's one context: what tools changed in it, written down when a turn is finished."""

from __future__ import annotations

from handfast.payloads.base import json_size
from handfast.payloads.context_edits import CONTEXT_BYTES, edited
from handfast.payloads.runs import RunFacts, RunResult
from handfast.payloads.transcript import BLOCK_BYTES
from handfast.workflows.frame.frame import Failure, Frame
from handfast.workflows.state.run_state import RunState


def keep_edits(state: RunState, frame: Frame) -> Failure | None:
    """Apply what the calls of a finished turn changed, in the model's call order.

    The frames of a run share the block of its facts: all of them go on with the new one.
    """
    edits = [edit for call in frame.calls for edit in call.context or ()]
    if not edits:
        return None
    facts = _facts(state, frame)
    context = edited(facts.context, edits)
    size = json_size(context)
    if size > CONTEXT_BYTES:
        return Failure(
            type="ContextTooLarge",
            message=f"tools made the run's context grow to {size:,} bytes, and it may take {CONTEXT_BYTES:,}; "
            "keep large data elsewhere, and its address in the context",
        )
    if not isinstance(context, dict):
        return Failure(type="ContextInvalid", message="a tool left something else than an object as the run's context")
    changed = facts.model_copy(update={"context": context})
    block = state.new_block([changed.to_wire()])
    if frame.facts is not None:
        state.transcript.redirect(frame.facts, block)
    for each in state.under(state.frame(state.root_of(frame.id))):
        each.facts, each.context_changed = block, True
    return None


def with_context(state: RunState, frame: Frame, result: RunResult) -> RunResult:
    """Add the context to a run's result where a tool changed it, and where both fit into one payload."""
    if not frame.context_changed:
        return result
    whole = result.model_copy(update={"context": _facts(state, frame).context})
    return whole if json_size(whole.to_wire()) <= BLOCK_BYTES else result


def _facts(state: RunState, frame: Frame) -> RunFacts:
    if frame.facts is None:
        return RunFacts()
    [stored] = state.transcript.items(frame.facts)
    return RunFacts.from_wire(stored)
