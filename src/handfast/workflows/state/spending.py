"""What each model reply has cost, the newest ones one by one. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from handfast.payloads.base import json_size
from handfast.payloads.runs import RunResult
from handfast.payloads.transcript import BLOCK_BYTES
from handfast.payloads.usage import RequestUsage, Usage
from handfast.workflows.frame.frame import Frame

MOST_REQUESTS: Final = 1000
"""Replies whose figures are kept one by one; the totals count all."""
REQUESTS_BYTES: Final = 200_000
"""Bytes of them that a result or a status carries at most."""


class Spending:
    """The figures of a workflow's model replies, in the order in which they came."""

    def __init__(self) -> None:
        """Begin with none."""
        self._kept: deque[tuple[str, RequestUsage]] = deque(maxlen=MOST_REQUESTS)

    def add(self, frame: Frame, usage: Usage, model: str | None) -> None:
        """Count one reply for the turn under way, whether it could be used or not."""
        if usage == Usage():
            return
        frame.usage = frame.usage.plus(usage)
        counted = RequestUsage(
            agent=frame.agent, agent_path=frame.agent_path, turn=frame.turn + 1, model=model, usage=usage
        )
        self._kept.append((frame.id, counted))

    def carried(self) -> list[tuple[str, RequestUsage]]:
        """The figures, oldest first, each with its frame."""
        return list(self._kept)

    def restore(self, carried: Iterable[tuple[str, RequestUsage]]) -> None:
        """Take over what was carried."""
        self._kept.extend(carried)

    def move(self, below: str, above: str) -> None:
        """Count the figures of one frame as another's."""
        self._kept = deque(
            ((above if frame == below else frame, counted) for frame, counted in self._kept), maxlen=MOST_REQUESTS
        )

    def of(self, frames: Iterable[Frame], room: int = REQUESTS_BYTES) -> list[RequestUsage]:
        """The figures of *frames*, oldest first: the newest ones that fit into *room* bytes."""
        ids = {frame.id for frame in frames}
        found: list[RequestUsage] = []
        for frame, counted in reversed(self._kept):
            if frame not in ids:
                continue
            room -= json_size(counted.to_wire()) + 1
            if room < 0:
                break
            found.append(counted)
        return found[::-1]

    def added_to(self, result: RunResult, frames: Iterable[Frame]) -> RunResult:
        """Add the figures to a run's result, as far as both fit into one payload."""
        room = min(REQUESTS_BYTES, BLOCK_BYTES - json_size(result.to_wire()))
        return result.model_copy(update={"by_request": self.of(frames, room)})
