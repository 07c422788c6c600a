"""Compacts a frame's conversation, between two of its turns."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

from handfast.payloads.evaluation import CompactHistory
from handfast.workflows.driver.frame_loop import FrameLoop
from handfast.workflows.ledger.log import RequestLog
from handfast.workflows.state.spending import Spending
from handfast.workflows.tasks import timeouts
from handfast.workflows.tasks.await_activity import Done, Failed

SHORTEST_PAUSE: Final = 2
LONGEST_PAUSE: Final = 64
"""Turns for which a compaction is put off that came to nothing; each time twice as long."""


class Compaction:
    """Replaces the start of a conversation by something short. A compaction that fails changes nothing."""

    def __init__(self, loop: FrameLoop, spending: Spending, log: RequestLog) -> None:
        """Take the loop, and the parts that a compaction is counted and logged with."""
        self._loop = loop
        self._frame = loop.frame
        self._spending = spending
        self._log = log

    async def run(self) -> None:
        """Try it once, and let the loop go on with the model."""
        frame = self._frame
        ending = await self._loop.ask(
            CompactHistory(origin=self._loop.origin),
            "makes the conversation short",
            timeouts.compaction(frame.model_queue),
        )
        made = ending.value if isinstance(ending, Done) else None
        spent = made.spent if made is not None else ending.spent if isinstance(ending, Failed) else None
        if spent is not None:
            self._spending.add(frame, spent.usage, spent.model)
        if self._loop.work.ending:
            return  # the frame has its ending already, of which this is a part
        frame.phase = "model"
        if made is not None and made.block is not None and made.items and made.until in frame.blocks:
            self._replace(made.until, self._loop.transcript.add(made.block, made.items))
            return
        problem = made.problem if made is not None else ending.message if isinstance(ending, Failed) else "cancelled"
        if problem is None:
            return  # there was nothing yet that could be made shorter
        frame.compact_pause = min(max(frame.compact_pause * 2, SHORTEST_PAUSE), LONGEST_PAUSE)
        frame.compact_from = frame.turn + frame.compact_pause
        self._log.note_compaction(frame.id, problem, workflow.now())

    def _replace(self, until: str, block: str) -> None:
        """Read *block* in place of everything up to *until*; the blocks themselves stay."""
        frame = self._frame
        count = frame.blocks.index(until) + 1
        frame.earlier += frame.blocks[:count]
        frame.blocks = [block, *frame.blocks[count:]]
        frame.cursor, frame.seen = 0, None
        frame.epoch += 1
        frame.compact_pause = 0
        self._log.note_compaction(frame.id, None, workflow.now())
