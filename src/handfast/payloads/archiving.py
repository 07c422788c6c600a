"""Arguments and answers of the archive: one Temporal run at a time."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from handfast.payloads.base import Payload

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
