"""The conversation as the workflow holds it: blocks by id, paged to the activities that lack them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from handfast.payloads.artifacts import Artifact
from handfast.payloads.base import json_size
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.transcript import Block, TranscriptPage, TranscriptQuery

_ID: Final = re.compile(r"(?<![0-9a-f-])[0-9a-f-]{32,36}(?![0-9a-f-])")
"""A UUID, with or without its hyphens."""


class Transcript:
    """Blocks by id. A block is added once and never changed."""

    def __init__(self) -> None:
        self._blocks: dict[str, list[JsonObject]] = {}
        self._packs: dict[str, Artifact] = {}
        self._sizes: dict[str, int] = {}

    def size(self, block_ids: Iterable[str]) -> int:
        """How many bytes blocks take together, those included that are kept outside the history."""
        return sum(self._size(block_id) for block_id in block_ids)

    def _size(self, block_id: str) -> int:
        if block_id not in self._sizes:
            kept = self._packs.get(block_id)
            self._sizes[block_id] = json_size(self._blocks[block_id]) if kept is None else kept.bytes
        return self._sizes[block_id]

    def add(self, block_id: str, items: Sequence[JsonObject]) -> str:
        """Keep a block; return its id."""
        self._blocks.setdefault(block_id, list(items))
        return block_id

    def add_pack(self, block_id: str, kept: Artifact) -> str:
        """Enter a block whose items are kept outside the history; return its id."""
        self._blocks[block_id] = []
        self._packs[block_id] = kept
        return block_id

    def is_pack(self, block_id: str) -> bool:
        """Whether a block's items are kept outside the history."""
        return block_id in self._packs

    def carried(self, text: str) -> tuple[dict[str, list[JsonObject]], dict[str, Artifact]]:
        """The blocks, and the packs among them, whose ids *text* names: the rest is needed no more.

        One pass over a text of megabytes: a search for each id of hundreds takes seconds, and the SDK stops a workflow
        task that takes two.
        """
        named = set(_ID.findall(text))
        blocks = {
            block_id: items
            for block_id, items in self._blocks.items()
            if block_id in named or (_ID.fullmatch(block_id) is None and block_id in text)
        }
        return blocks, {block_id: kept for block_id, kept in self._packs.items() if block_id in blocks}

    def restore(self, blocks: dict[str, list[JsonObject]], packs: dict[str, Artifact]) -> None:
        """Take over what was carried."""
        self._blocks.update(blocks)
        self._packs.update(packs)

    def redirect(self, old: str, new: str) -> None:
        """Let a block that nobody needs as it was lead to the one that came in its place, for those under way."""
        self._blocks[old] = self._blocks[new]
        self._sizes.pop(old, None)

    def forget(self, block_ids: Iterable[str]) -> None:
        """Drop blocks that were made for one activity, which has ended."""
        for block_id in block_ids:
            self._blocks.pop(block_id, None)
            self._sizes.pop(block_id, None)

    def has(self, block_id: str) -> bool:
        """Whether a block is here."""
        return block_id in self._blocks

    def items(self, block_id: str) -> list[JsonObject]:
        """The items of one block."""
        return self._blocks[block_id]

    def page(self, order: Sequence[str], query: TranscriptQuery) -> TranscriptPage:
        """Answer the transcript query.

        Args:
            order: Block ids of the frame, in the order in which the model reads them.
            query: What is asked for; an `after` or id that is not known leads to an empty page.
        """
        if query.ids is not None:
            wanted: Iterable[str] = (block for block in query.ids if block in self._blocks)
        elif query.after is None:
            wanted = order
        elif query.after in order:
            wanted = order[order.index(query.after) + 1 :]
        else:
            wanted = ()
        blocks: list[Block] = []
        room = query.max_bytes
        for block_id in wanted:
            items = self._blocks[block_id]
            room -= json_size(items) + len(block_id) + 32
            if blocks and room < 0:
                return TranscriptPage(blocks=blocks, more=True)
            blocks.append(Block(id=block_id, items=items, packed=self._packs.get(block_id)))
        return TranscriptPage(blocks=blocks)
