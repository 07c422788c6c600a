"""Making a frame's conversation short, between two of its turns."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

from handfast.payloads.evaluation import CompactHistory
from handfast.workflows.frame.frame import Frame
from handfast.workflows.state.run_state import RunState
from handfast.workflows.tasks import timeouts
from handfast.workflows.tasks.settle import Done, Failed
from handfast.workflows.tasks.work import Work

SHORTEST_PAUSE: Final = 2
LONGEST_PAUSE: Final = 64
"""How many turns it is put off where it came to nothing; each time twice as long."""


class Compaction:
    """Lets the start of a conversation be replaced by something short. What fails changes nothing."""

    def __init__(self, state: RunState, frame: Frame, work: Work) -> None:
        self._state = state
        self._frame = frame
        self._work = work

    async def run(self) -> None:
        """Try it once, and let the loop go on with the model."""
        state, frame = self._state, self._frame
        settled = await self._work.evaluate(
            CompactHistory(origin=state.origin(frame)),
            f"{frame.agent} · makes the conversation short",
            timeouts.compaction(frame.model_queue),
        )
        made = settled.value if isinstance(settled, Done) else None
        spent = made.spent if made is not None else settled.spent if isinstance(settled, Failed) else None
        if spent is not None:
            state.spending.add(frame, spent.usage, spent.model)
        if self._work.ending:
            return  # the frame has its ending already, of which this is a part
        frame.phase = "model"
        if made is not None and made.block is not None and made.items and made.until in frame.blocks:
            self._replace(made.until, state.transcript.add(made.block, made.items))
            return
        problem = made.problem if made is not None else settled.message if isinstance(settled, Failed) else "cancelled"
        if problem is None:
            return  # there was nothing yet that could be made shorter
        frame.compact_pause = min(max(frame.compact_pause * 2, SHORTEST_PAUSE), LONGEST_PAUSE)
        frame.compact_from = frame.turn + frame.compact_pause
        state.ledger.log.note_compaction(frame.id, problem, workflow.now())

    def _replace(self, until: str, block: str) -> None:
        """Read *block* in place of everything up to *until*; the blocks themselves stay."""
        frame = self._frame
        count = frame.blocks.index(until) + 1
        frame.earlier += frame.blocks[:count]
        frame.blocks = [block, *frame.blocks[count:]]
        frame.cursor, frame.seen = 0, None
        frame.epoch += 1
        frame.compact_pause = 0
        self._state.ledger.log.note_compaction(frame.id, None, workflow.now())
