"""The context that the frames of a run share: changed by tools, written down when a turn is finished."""

from __future__ import annotations

from handfast.payloads.base import json_size
from handfast.payloads.context_edits import CONTEXT_BYTES, edited
from handfast.payloads.runs import RunFacts, RunResult
from handfast.payloads.transcript import BLOCK_BYTES
from handfast.workflows.driver.frame_loop import FrameLoop
from handfast.workflows.frame.frame import Failure
from handfast.workflows.frame.table import FrameTable


class SharedContext:
    """Keeps the context of one frame's run."""

    def __init__(self, loop: FrameLoop, frames: FrameTable) -> None:
        """Take the loop, and the frames of its run."""
        self._frame = loop.frame
        self._frames = frames
        self._transcript = loop.transcript

    def keep_edits(self) -> Failure | None:
        """Apply the changes that the calls of a finished turn made, in the model's call order.

        The frames of a run share the block of its facts: all of them go on with the new one. The id of the old block
        leads to it, for activities that were started with that.
        """
        edits = [edit for call in self._frame.calls for edit in call.context or ()]
        if not edits:
            return None
        facts = self._facts
        context = edited(facts.context, edits)
        size = json_size(context)
        if size > CONTEXT_BYTES:
            return Failure(
                type="ContextTooLarge",
                message=f"tools made the run's context grow to {size:,} bytes, and it may take {CONTEXT_BYTES:,}; "
                "keep large data elsewhere, and its address in the context",
            )
        if not isinstance(context, dict):
            return Failure(
                type="ContextInvalid", message="a tool left something else than an object as the run's context"
            )
        block = self._transcript.new_block([facts.model_copy(update={"context": context}).to_wire()])
        if self._frame.facts is not None:
            self._transcript.redirect(self._frame.facts, block)
        for each in self._frames.under(self._frames.frame(self._frames.root_of(self._frame.id))):
            each.facts, each.context_changed = block, True
        return None

    def added_to(self, result: RunResult) -> RunResult:
        """Add the context to the run's result where a tool changed it, and where both fit into one payload."""
        if not self._frame.context_changed:
            return result
        whole = result.model_copy(update={"context": self._facts.context})
        return whole if json_size(whole.to_wire()) <= BLOCK_BYTES else result

    @property
    def _facts(self) -> RunFacts:
        if self._frame.facts is None:
            return RunFacts()
        [stored] = self._transcript.items(self._frame.facts)
        return RunFacts.from_wire(stored)
