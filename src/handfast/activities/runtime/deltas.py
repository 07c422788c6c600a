"""Publishes the deltas of model calls and tools in the background, never in their way."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

from temporalio import activity
from temporalio.converter import DataConverter, WorkflowSerializationContext

from handfast.deltas.stream import DeltaStream
from handfast.models.port import ModelDelta
from handfast.payloads.deltas import (
    DELTA_CHARS,
    Delta,
    DeltaPlace,
    DeltasDiscarded,
    attempt_id,
    records_to_wire,
)
from handfast.payloads.model_call import Origin
from handfast.payloads.tool_call import ToolProgress

logger = logging.getLogger(__name__)

EVERY_S: Final = 0.04
"""Pause between two entries: the deltas in between travel together."""
PUBLISH_S: Final = 3.0
"""Time limit of a stream for accepting an entry."""
PAUSES_S: Final = (0.25, 0.5, 1.0, 2.0, 5.0)
"""Before a stream that failed is tried again; then the last of them."""
LAST_WORDS_S: Final = 0.5
"""Time for which an activity that ends waits for its deltas to be accepted, so that its end is not seen first."""
MOST_CHARS: Final = 256 * 1024
"""Most deltas of one attempt that wait to be published; further ones are lost."""

Kind = Literal["text", "reasoning", "arguments", "tool_progress"]


class DeltaOutlet:
    """Publishes deltas from one task for all activities of a worker."""

    def __init__(self, stream: DeltaStream | None, *, owned: bool = False) -> None:
        """Take the stream; None keeps no deltas, and one that is owned ends with the worker."""
        self._stream = stream
        self._owned = owned
        self._waiting: dict[Pen, None] = {}
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._failures = 0
        self._lost = 0
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start the task, in the worker's event loop."""
        if self._stream is not None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop the task; deltas that the stream has not accepted by now are lost."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._stream is not None and self._owned:
            await self._stream.close()

    def pen(self, origin: Origin, *, turn: int) -> Pen | None:
        """Return a pen for the current activity; None where no stream would keep its deltas."""
        return None if self._task is None else Pen(self, origin, turn)

    def wake(self, pen: Pen, *, hurry: bool = False) -> None:
        """Publish the deltas of *pen* soon, or at once."""
        self._waiting[pen] = None
        self._wake.set()
        if hurry:
            self._hurry.set()

    def leave(self, pen: Pen) -> None:
        """End *pen*; where the stream is away, the deltas that it still holds are lost."""
        if not self.works and pen in self._waiting:
            del self._waiting[pen]
            self._lost += len(pen.take())

    @property
    def works(self) -> bool:
        """True where the stream accepted the last entry."""
        return self._failures == 0

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._pause()
            for pen in list(self._waiting):
                del self._waiting[pen]
                if not await self._publish(pen):
                    if not pen.ended:
                        self._waiting[pen] = None  # for what it will have said by then
                    self._wake.set()
                    break

    async def _pause(self) -> None:
        if not self.works:
            await asyncio.sleep(PAUSES_S[min(self._failures, len(PAUSES_S)) - 1])
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(EVERY_S):
                await self._hurry.wait()
        self._hurry.clear()

    async def _publish(self, pen: Pen) -> bool:
        assert self._stream is not None
        records = pen.take()
        if not records:
            pen.settled.set()
            return True
        try:
            async with asyncio.timeout(PUBLISH_S):
                await self._stream.publish(pen.run, await pen.encoded(records))
        except Exception as error:  # noqa: BLE001 - whatever a stream or a codec raises: no run depends on it
            self._failures += 1
            self._lost += len(records)
            if self._failures == 1:
                logger.warning("deltas cannot be published (%s); runs go on without them", type(error).__name__)
            pen.settled.set()
            return False
        if self._failures:
            logger.warning("deltas are published again; %d were lost", self._lost)
            self._failures, self._lost = 0, 0
        if not pen.holds_something:
            pen.settled.set()
        return True


@dataclass
class _Piece:
    kind: Kind
    item: int | None
    call_id: str | None
    texts: list[str]
    done: float | None = None
    total: float | None = None


class _Gap:
    """Stands where pieces were lost."""


class Pen:
    """The deltas of one attempt of an activity. Used in the worker's event loop alone.

    As a context manager it tells that the deltas of earlier attempts are void, and at an exception its own.

    Attributes:
        run: Whose deltas they are.
        settled: Every delta has been accepted, or lost.
        ended: No more deltas come.
    """

    def __init__(self, outlet: DeltaOutlet, origin: Origin, turn: int) -> None:
        """Begin for the attempt that is under way."""
        info = activity.info()
        self.run = origin.workflow_run
        self.ended = False
        self.settled = asyncio.Event()
        self.settled.set()
        self._outlet = outlet
        self._place = DeltaPlace(
            run=origin.workflow_run,
            frame=origin.frame,
            agent_path=origin.agent_path,
            turn=turn,
            attempt=attempt_id(info.workflow_run_id or "", info.activity_id, info.attempt),
        )
        self._earlier = (
            attempt_id(info.workflow_run_id or "", info.activity_id, info.attempt - 1) if info.attempt > 1 else None
        )
        self._converter: DataConverter = activity.client().data_converter.with_context(
            WorkflowSerializationContext(namespace=info.namespace, workflow_id=info.workflow_id or "")
        )
        self._said: list[_Piece | _Gap | DeltasDiscarded] = []
        self._chars = 0
        self._seq = 0

    async def __aenter__(self) -> Self:
        """Discard the deltas of earlier attempts."""
        if self._earlier is not None:
            self._discard(self._earlier)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the deltas to arrive, unless the attempt is being cancelled."""
        if kind is not None:
            self._discard(self._place.attempt)
        self.ended = True
        try:
            if kind is None or issubclass(kind, Exception):
                await self.finish()
        finally:
            self._outlet.leave(self)

    def model(self, delta: ModelDelta) -> None:
        """Add a piece of a reply."""
        self._write(delta.kind, delta.text, delta.item, delta.call_id)

    def progress(self, told: ToolProgress) -> None:
        """Add a tool's progress, in the place of one that was not published yet."""
        if self._said and isinstance(self._said[-1], _Piece):
            self._said.pop()
            self._chars = 0
        self._write("tool_progress", told.text, None, told.call_id)
        if self._said and isinstance(self._said[-1], _Piece):
            self._said[-1].done, self._said[-1].total = told.done, told.total

    async def finish(self) -> None:
        """Wait a moment until every delta is accepted; not at all where the stream is away."""
        if self.settled.is_set() or not self._outlet.works:
            return
        self._outlet.wake(self, hurry=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self.settled.wait()

    # --- for the outlet ---

    @property
    def holds_something(self) -> bool:
        """True while a delta waits to be published."""
        return bool(self._said)

    def take(self) -> list[Delta | DeltasDiscarded]:
        """Hand over the deltas since the last time."""
        said, self._said, self._chars = self._said, [], 0
        records: list[Delta | DeltasDiscarded] = []
        for each in said:
            match each:
                case DeltasDiscarded():
                    records.append(each)
                case _Gap():
                    self._seq += 1
                case _Piece():
                    records += self._deltas(each)
        return records

    async def encoded(self, records: list[Delta | DeltasDiscarded]) -> bytes:
        """Encode records as one entry, with the converter and codec of the worker's client."""
        [payload] = await self._converter.encode([records_to_wire(records)])
        return payload.SerializeToString()

    # --- inside ---

    def _write(self, kind: Kind, text: str, item: int | None, call_id: str | None) -> None:
        last = self._said[-1] if self._said else None
        self.settled.clear()
        self._outlet.wake(self)
        if self._chars + len(text) > MOST_CHARS:
            if not isinstance(last, _Gap):
                self._said.append(_Gap())
            return
        self._chars += len(text)
        if isinstance(last, _Piece) and (last.kind, last.item, last.call_id) == (kind, item, call_id):
            last.texts.append(text)
        else:
            self._said.append(_Piece(kind, item, call_id, [text]))

    def _discard(self, attempt: str) -> None:
        self.settled.clear()
        self._said.append(DeltasDiscarded(**{**self._place.model_dump(), "attempt": attempt}))
        self._outlet.wake(self)

    def _deltas(self, piece: _Piece) -> list[Delta]:
        text = "".join(piece.texts)
        deltas: list[Delta] = []
        for start in range(0, len(text), DELTA_CHARS):
            part = text[start : start + DELTA_CHARS]
            deltas.append(
                Delta(
                    **self._place.model_dump(),
                    seq=self._seq,
                    kind=piece.kind,
                    text=part,
                    item=piece.item,
                    call_id=piece.call_id,
                    done=piece.done,
                    total=piece.total,
                )
            )
            self._seq += 1
        return deltas
