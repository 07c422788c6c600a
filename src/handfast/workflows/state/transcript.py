"""The conversation as the workflow holds it: blocks by id, paged to the activities that lack them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from pydantic import BaseModel

from handfast.payloads.base import json_size
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.transcript import Artifact, Block, TranscriptPage, TranscriptQuery
from handfast.workflows.frame.frame import Frame

_ID: Final = re.compile(r"(?<![0-9a-f-])[0-9a-f-]{32,36}(?![0-9a-f-])")
"""A UUID, with or without its hyphens."""


class TranscriptState(BaseModel):
    """All that lasts of a transcript.

    Attributes:
        blocks: The items of each block, by its id; none of a pack.
        packs: Where the items of packs are kept outside the history.
    """

    blocks: dict[str, list[JsonObject]] = {}
    packs: dict[str, Artifact] = {}

    def named_in(self, text: str) -> TranscriptState:
        """Return the blocks whose ids stand in *text*: the others are needed no more.

        One pass over a text of megabytes: a search for each id of hundreds takes seconds, and the SDK stops a workflow
        task that takes two.
        """
        named = set(_ID.findall(text))
        blocks = {
            block_id: items
            for block_id, items in self.blocks.items()
            if block_id in named or (_ID.fullmatch(block_id) is None and block_id in text)
        }
        packs = {block_id: place for block_id, place in self.packs.items() if block_id in blocks}
        return TranscriptState.model_construct(blocks=blocks, packs=packs)


class Transcript:
    """Blocks by id. A block is added once and never changed."""

    def __init__(self, state: TranscriptState, new_id: Callable[[], str]) -> None:
        """Work on *state*; *new_id* makes the ids of blocks that the workflow makes itself."""
        self._state = state
        self._new_id = new_id
        self._sizes: dict[str, int] = {}

    def size(self, block_ids: Iterable[str]) -> int:
        """Return the bytes of blocks together, those included that are kept outside the history."""
        return sum(self._size(block_id) for block_id in block_ids)

    def _size(self, block_id: str) -> int:
        if block_id not in self._sizes:
            pack = self._state.packs.get(block_id)
            self._sizes[block_id] = json_size(self._state.blocks[block_id]) if pack is None else pack.bytes
        return self._sizes[block_id]

    def new_block(self, items: list[JsonObject]) -> str:
        """Keep items that the workflow made itself; return the id of their block."""
        return self.add(self._new_id(), items)

    def new_pack(self, place: Artifact) -> str:
        """Enter a block whose items are kept outside the history; return its id."""
        block_id = self.new_block([])
        self._state.packs[block_id] = place
        return block_id

    def add(self, block_id: str, items: Sequence[JsonObject]) -> str:
        """Keep a block; return its id."""
        self._state.blocks.setdefault(block_id, list(items))
        return block_id

    def is_pack(self, block_id: str) -> bool:
        """Return whether a block's items are kept outside the history."""
        return block_id in self._state.packs

    def redirect(self, old: str, new: str) -> None:
        """Let the id of a block that was replaced lead to *new*, for activities that were started with it."""
        self._state.blocks[old] = self._state.blocks[new]
        self._sizes.pop(old, None)

    def replace(self, frame: Frame, old: str, items: list[JsonObject]) -> str | None:
        """Let *items* be read in the place of a block of *frame*.

        Whoever still asks for the old block by its id gets these too.

        Returns:
            Id of their block; None where there are no items.
        """
        new = self.new_block(items)
        self.redirect(old, new)
        frame.replace_block(old, new if items else None)
        return new if items else None

    def forget(self, block_ids: Iterable[str]) -> None:
        """Drop blocks that were made for one activity, which has ended."""
        for block_id in block_ids:
            self._state.blocks.pop(block_id, None)
            self._sizes.pop(block_id, None)

    def has(self, block_id: str) -> bool:
        """Return whether a block is here."""
        return block_id in self._state.blocks

    def items(self, block_id: str) -> list[JsonObject]:
        """Return the items of one block."""
        return self._state.blocks[block_id]

    def page(self, order: Sequence[str], query: TranscriptQuery) -> TranscriptPage:
        """Answer the transcript query.

        Args:
            order: Block ids of the frame, in the order in which the model reads them.
            query: As it came in; an `after` or id that is not known leads to an empty page.
        """
        if query.ids is not None:
            wanted: Iterable[str] = (block for block in query.ids if self.has(block))
        elif query.after is None:
            wanted = order
        elif query.after in order:
            wanted = order[order.index(query.after) + 1 :]
        else:
            wanted = ()
        blocks: list[Block] = []
        room = query.max_bytes
        for block_id in wanted:
            items = self.items(block_id)
            room -= json_size(items) + len(block_id) + 32
            if blocks and room < 0:
                return TranscriptPage(blocks=blocks, more=True)
            blocks.append(Block(id=block_id, items=items, packed=self._state.packs.get(block_id)))
        return TranscriptPage(blocks=blocks)
