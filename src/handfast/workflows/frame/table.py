"""The frames of one workflow: a run and its nested loops are a tree of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from handfast.payloads.guardrails import GuardrailResult, kept
from handfast.payloads.usage import Usage
from handfast.workflows.frame.frame import Frame


class FrameTable:
    """All frames, in the order in which they began.

    Attributes:
        frames: They.
        next_frame: Number of the next frame.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.frames: list[Frame] = []
        self.next_frame = 0

    def _new_frame_id(self) -> str:
        self.next_frame += 1
        return str(self.next_frame - 1)

    def frame(self, frame_id: str) -> Frame:
        """The frame of that id.

        Raises:
            LookupError: There is none, which is a bug of ours. A `StopIteration` would be taken for some loop's end.
        """
        found = next((frame for frame in self.frames if frame.id == frame_id), None)
        if found is None:
            raise LookupError(f"no frame {frame_id}")
        return found

    @property
    def run_frame(self) -> Frame | None:
        """The frame of the last run that began: never a nested one."""
        return next((frame for frame in reversed(self.frames) if frame.parent is None), None)

    def root_of(self, frame_id: str) -> str:
        """The frame of the run that a frame belongs to."""
        frame = self.frame(frame_id)
        while frame.parent is not None:
            frame = self.frame(frame.parent)
        return frame.id

    def under(self, frame: Frame | None) -> list[Frame]:
        """A frame and all frames below it."""
        return [] if frame is None else below(self.frames, frame)

    def usage_of(self, frame: Frame) -> Usage:
        """What a frame has spent, with all frames below it: each reply counted once."""
        return sum_usage(self.under(frame))

    def guardrails_of(self, frame: Frame) -> list[GuardrailResult]:
        """What the guardrails of a frame and of all frames below it said."""
        return kept([each for one in self.under(frame) for each in one.guardrails])


def below(frames: Iterable[Frame], top: Frame) -> list[Frame]:
    """The frame and everything below it; *frames* in the order in which they were made."""
    found = {top.id: top}
    for frame in frames:
        if frame.parent in found:
            found[frame.id] = frame
    return list(found.values())


def sum_usage(frames: Iterable[Frame]) -> Usage:
    """What *frames* have spent together."""
    total = Usage()
    for frame in frames:
        total = total.plus(frame.usage).plus(frame.nested_usage)
    return total


def total_usage(frames: Sequence[Frame]) -> Usage:
    """The same, with what earlier messages have cost."""
    total = sum_usage(frames)
    for frame in frames:
        total = total.plus(frame.spent_before)
    return total
