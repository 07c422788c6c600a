"""Blocks of the transcript, references to what is kept outside of it, and the query that fetches blocks."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from handfast.payloads.base import Payload
from handfast.payloads.json_profile import JsonObject

READ_OUTPUT: Final = "read_output"
"""The tool with which a model reads more of an output that is kept outside: no tool of a user has this name."""


class Artifact(Payload):
    """A reference to a value outside the history: a tool output, or a part of the conversation.

    Attributes:
        sha256: Of its content, as 64 lower-case hexadecimal digits: its name in the store.
        bytes: Its size, as UTF-8.
    """

    sha256: str
    bytes: int


PAGE_BYTES = 900_000
"""Most bytes of items in one page: below the 1 MB at which gRPC queries start to hurt."""

BLOCK_BYTES = 1_900_000
"""Most bytes of one block: a page holds at least one, and above 2 MB the server refuses the answer of a query."""


class Block(Payload):
    """A part of the conversation that is never changed: a reply, an output, a message.

    Its id is made by whoever produced it, so that a lost attempt's block can never stand in for a recorded one.

    Attributes:
        packed: Its items are kept there, as a `Pack`; `items` is empty.
    """

    id: str
    items: list[JsonObject]
    packed: Artifact | None = None


class Pack(Payload):
    """Blocks of a long conversation, as they are kept outside the history, in their order."""

    blocks: list[Block]

    @property
    def items(self) -> list[JsonObject]:
        """Return the items of all blocks, in order."""
        return [item for block in self.blocks for item in block.items]


class TranscriptQuery(Payload):
    """Either the blocks after one (None: from the start), or exactly `ids`.

    Attributes:
        current: Whatever the epoch, and with the outputs of the turn under way that are there.
        whole: Also blocks that the model no longer reads, as a handoff's filter left them out.
    """

    frame: str = "0"
    epoch: int = 0
    after: str | None = None
    ids: list[str] | None = None
    whole: bool = False
    current: bool = False
    max_bytes: Annotated[int, Field(ge=1, le=PAGE_BYTES)] = PAGE_BYTES


class TranscriptPage(Payload):
    """Blocks in transcript order (or in the order of `ids`), at least one where any is left."""

    blocks: list[Block]
    more: bool = False


def user_message(text: str) -> JsonObject:
    """Return a user's message, as the Responses API takes it."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
