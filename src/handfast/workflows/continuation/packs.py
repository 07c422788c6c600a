"""What weighs most of a run that goes on in a fresh history: its blocks, kept outside as packs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from temporalio import workflow

from handfast.payloads.evaluation import EVALUATE, PackBlocks
from handfast.workflows.frame.frame import Frame
from handfast.workflows.state.run_state import RunState
from handfast.workflows.tasks import timeouts
from handfast.workflows.tasks.settle import Done, settle_activity, start_activity

PACK_BYTES: Final = 16 * 1024
"""Blocks together above this size are kept outside the history, where there is a place: each fresh history would
repeat them otherwise."""
PACKED_AT_ONCE: Final = 2_000
"""Blocks of one pack: their ids are an activity's input."""


class Packer:
    """Packs the blocks of one history."""

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._cannot_keep = False

    async def pack(self) -> bool:
        """Keep outside the history what the model has seen before its last reply; whether anything was done."""
        if not self._state.keeps or self._cannot_keep:
            return False
        for frame in self._state.frames:
            for blocks, until in ((frame.earlier, len(frame.earlier)), (frame.blocks, frame.cursor)):
                for loose in loose_in(blocks[:until], self._state.transcript.is_pack):
                    if self._state.transcript.size(loose) >= PACK_BYTES:
                        await self._keep(frame, loose)
                        return True
        return False

    async def _keep(self, frame: Frame, ids: list[str]) -> None:
        """Put a pack in the place of blocks that follow each other; where that fails, all stay here for this time."""
        arg = PackBlocks(origin=self._state.origin(frame), ids=ids)
        summary = f"{frame.agent} · keeping {len(ids)} blocks outside the history"
        activity = start_activity(EVALUATE, arg.to_wire(), summary, timeouts.PART_OF_RUN, self._state.marks)
        # A task of its own: an activity that is awaited directly takes a cancel of the workflow for one of its own.
        keeping = asyncio.create_task(settle_activity(activity, self._state.marks))
        try:
            settled = await asyncio.shield(keeping)
        except asyncio.CancelledError:
            keeping.cancel()
            raise
        place = arg.read(settled.value).packed if isinstance(settled, Done) else None
        if place is None:
            self._cannot_keep = True
        elif self._state.quiet:  # a model call that began meanwhile has been told where it reads on
            put_pack(frame, ids, self._state.transcript.add_pack(str(workflow.uuid4()), place))


def loose_in(blocks: Sequence[str], is_pack: Callable[[str], bool]) -> list[list[str]]:
    """The blocks that are in no pack yet: those that follow each other together, as many as go into one."""
    found: list[list[str]] = [[]]
    for each in blocks:
        if is_pack(each) or len(found[-1]) == PACKED_AT_ONCE:
            found.append([])
        if not is_pack(each):
            found[-1].append(each)
    return [each for each in found if each]


def put_pack(frame: Frame, packed: list[str], pack: str) -> None:
    """Put a pack where the blocks stand that it holds, if they still follow each other there."""
    for blocks, until in ((frame.earlier, len(frame.earlier)), (frame.blocks, frame.cursor)):
        at = blocks.index(packed[0]) if packed[0] in blocks else until
        if at + len(packed) > until or blocks[at : at + len(packed)] != packed:
            continue
        blocks[at : at + len(packed)] = [pack]
        if blocks is frame.blocks:
            frame.cursor -= len(packed) - 1
            if frame.seen in packed:
                frame.seen = pack
