"""The state that a run carries over continue-as-new, and the archive of the histories that it leaves."""

from __future__ import annotations

import base64
import zlib
from typing import Final

from pydantic import Field

from handfast.payloads.base import Payload

FORMAT: Final = 1
"""Version of the state inside; a worker that does not know it leaves the run to one that does."""
CARRY_BYTES: Final = 1_000_000
"""Most bytes of a carried state as it travels."""
SEGMENT_EVENTS: Final = 2_000
"""Events of a Temporal history after which a run goes on in a fresh one: a replay costs 0.4 ms an event."""


class Carry(Payload):
    """The state of a run or host, compressed.

    Attributes:
        state: JSON, deflated, in base64. What is in it is the workflow's own.
    """

    format: int = FORMAT
    state: str

    @classmethod
    def of(cls, text: str) -> Carry:
        """Pack a state."""
        return cls(state=base64.b64encode(zlib.compress(text.encode(), 6)).decode())

    def text(self) -> str:
        """Unpack it.

        Raises:
            ValueError: It was written by a version that this one cannot read.
        """
        if self.format != FORMAT:
            raise ValueError(f"a carried state of format {self.format}, and this version reads {FORMAT}")
        return zlib.decompress(base64.b64decode(self.state)).decode()


ARCHIVE: Final = "handfast.archive"
"""Name of the workflow that has a history archived, and of its activity."""
CHILD_ID: Final = "handfast-archive-"
"""Begins the ids of those workflows; the run id of what they archive follows."""


class ArchiveSegment(Payload):
    """Argument of the workflow and of the activity `handfast.archive`: one Temporal run, from start to close.

    Attributes:
        closes: It is about to close, which is waited for; otherwise it may go on for long, and what there is by then is
            written.
        query: Name of the run's transcript query.
        frames: Loops whose transcripts are archived with it, where the run ends with this segment.
    """

    workflow_id: str
    run_id: str
    closes: bool = True
    query: str = "transcript"
    frames: list[str] = Field(default=[])


class Archived(Payload):
    """Answer of both.

    Attributes:
        name: Of the file.
        events: How many it holds.
        bytes: Its size.
    """

    name: str
    events: int
    bytes: int
