"""The usage of each model reply, the newest ones one by one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from handfast.payloads.base import json_size
from handfast.payloads.runs import RunResult
from handfast.payloads.transcript import BLOCK_BYTES
from handfast.payloads.usage import RequestUsage, Usage
from handfast.workflows.frame.frame import Frame

MOST_REQUESTS: Final = 1000
"""Replies whose usage is kept one by one; the totals count all."""
REQUESTS_BYTES: Final = 200_000
"""Bytes of them that a result or a status carries at most."""

FrameUsage: TypeAlias = tuple[str, RequestUsage]
"""The usage of one reply, with the frame that it counts for."""


class Spending:
    """Counts the usage of a workflow's model replies."""

    def __init__(self, replies: list[FrameUsage]) -> None:
        """Work on *replies*, oldest first."""
        self._replies = replies

    def add(self, frame: Frame, usage: Usage, model: str | None) -> None:
        """Count one reply for the turn under way, whether it could be used or not."""
        if usage == Usage():
            return
        frame.usage = frame.usage.plus(usage)
        counted = RequestUsage(
            agent=frame.agent, agent_path=frame.agent_path, turn=frame.turn + 1, model=model, usage=usage
        )
        self._replies.append((frame.id, counted))
        del self._replies[:-MOST_REQUESTS]

    def move(self, below: str, above: str) -> None:
        """Count the usage of one frame as another's."""
        self._replies[:] = [(above if frame == below else frame, counted) for frame, counted in self._replies]

    def of(self, frames: Iterable[Frame], room: int = REQUESTS_BYTES) -> list[RequestUsage]:
        """Return the usage of *frames* by reply, oldest first: the newest ones that fit into *room* bytes."""
        ids = {frame.id for frame in frames}
        found: list[RequestUsage] = []
        for frame, counted in reversed(self._replies):
            if frame not in ids:
                continue
            room -= json_size(counted.to_wire()) + 1
            if room < 0:
                break
            found.append(counted)
        return found[::-1]

    def added_to(self, result: RunResult, frames: Iterable[Frame]) -> RunResult:
        """Add the usage by reply to a run's result, as far as both fit into one payload."""
        room = min(REQUESTS_BYTES, BLOCK_BYTES - json_size(result.to_wire()))
        return result.model_copy(update={"by_request": self.of(frames, room)})
