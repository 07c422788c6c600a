"""Packs: the blocks of a run that goes on in a fresh history, kept outside of it, as they weigh most."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from handfast.payloads.evaluation import EVALUATE, PackBlocks
from handfast.workflows.frame.frame import Frame
from handfast.workflows.state.runs import Runs
from handfast.workflows.tasks import timeouts
from handfast.workflows.tasks.await_activity import Done, await_activity, start_activity

PACK_BYTES: Final = 16 * 1024
"""Blocks together above this size are kept outside the history, where there is a place: each fresh history would
repeat them otherwise."""
PACKED_AT_ONCE: Final = 2_000
"""Blocks of one pack: their ids are an activity's input."""


class Packer:
    """Packs blocks of one history: keeps them outside it, and names them by one block in their place."""

    def __init__(self, runs: Runs) -> None:
        """Take the runs whose blocks are packed."""
        self._runs = runs
        self._cannot_keep = False

    async def pack(self) -> bool:
        """Pack blocks that the model has read before its last reply; return whether anything was done."""
        if not self._runs.state.deployment.keeps or self._cannot_keep:
            return False
        for frame in self._runs.frames.all:
            for blocks, until in ((frame.earlier, len(frame.earlier)), (frame.blocks, frame.cursor)):
                for loose in loose_in(blocks[:until], self._runs.transcript.is_pack):
                    if self._runs.transcript.size(loose) >= PACK_BYTES:
                        await self._keep(frame, loose)
                        return True
        return False

    async def _keep(self, frame: Frame, ids: list[str]) -> None:
        """Put a pack in the place of blocks that follow each other; if that fails, all blocks of this history stay."""
        arg = PackBlocks(origin=self._runs.identity.origin(frame), ids=ids)
        summary = f"{frame.agent} · keeping {len(ids)} blocks outside the history"
        activity = start_activity(EVALUATE, arg.to_wire(), summary, timeouts.PART_OF_RUN, self._runs.marks)
        # A task of its own: an activity that is awaited directly takes a cancel of the workflow for one of its own.
        keeping = asyncio.create_task(await_activity(activity, self._runs.marks))
        try:
            ending = await asyncio.shield(keeping)
        except asyncio.CancelledError:
            keeping.cancel()
            raise
        place = arg.read(ending.value).packed if isinstance(ending, Done) else None
        if place is None:
            self._cannot_keep = True
        elif self._runs.quiet:  # a model call that began meanwhile has been told where it reads on
            put_pack(frame, ids, self._runs.transcript.new_pack(place))


def loose_in(blocks: Sequence[str], is_pack: Callable[[str], bool]) -> list[list[str]]:
    """Return the blocks outside packs, in groups that follow each other and fit into one pack."""
    found: list[list[str]] = [[]]
    for each in blocks:
        if is_pack(each) or len(found[-1]) == PACKED_AT_ONCE:
            found.append([])
        if not is_pack(each):
            found[-1].append(each)
    return [each for each in found if each]


def put_pack(frame: Frame, packed: list[str], pack: str) -> None:
    """Put *pack* in the place of the blocks that it holds, if they still follow each other."""
    for blocks, until in ((frame.earlier, len(frame.earlier)), (frame.blocks, frame.cursor)):
        at = blocks.index(packed[0]) if packed[0] in blocks else until
        if at + len(packed) > until or blocks[at : at + len(packed)] != packed:
            continue
        blocks[at : at + len(packed)] = [pack]
        if blocks is frame.blocks:
            frame.cursor -= len(packed) - 1
            if frame.seen in packed:
                frame.seen = pack
