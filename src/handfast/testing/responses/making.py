"""Responses that are made while nobody waits on a connection: in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Final

from handfast.testing.record import Json
from handfast.testing.responses.refusal import ApiRefusal
from handfast.testing.responses.stream import encode_event, error_event, failed_event, first_events

OVER: Final = frozenset({"completed", "failed", "cancelled", "incomplete"})
"""States of a response that change no more."""


class Making:
    """One response in the background: as it stands, and the events that tell of it.

    Args:
        response: As it is answered at once: queued.
        streamed: Whether it was created as a stream, which alone can be followed later.
    """

    def __init__(self, response: Json, *, streamed: bool) -> None:
        self.response = response
        self._streamed = streamed
        self._events: list[Json] = []
        self._changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    @property
    def is_over(self) -> bool:
        """True once the response changes no more."""
        return self.response["status"] in OVER

    def begin(self) -> None:
        """Set once the response is no longer queued."""
        response = {**self.response, "status": "in_progress"}
        self.stands(response, first_events(dict(response), queued=True))

    def fail(self, code: str, message: str, *, event: bool = False) -> None:
        """Give it up; with *event* the stream ends with an error and not with the failed response."""
        response = {**self.response, "status": "failed", "error": {"code": code, "message": message}}
        self.stands(response, [error_event(code, message) if event else failed_event(response)])

    def stands(self, response: Json, events: Iterable[Json]) -> None:
        """Replace the response, and tell whoever follows."""
        self.response.clear()
        self.response.update(response)
        self._events += events
        self._changed.set()
        self._changed = asyncio.Event()

    def cancel(self) -> None:
        """End it; what has ended stays as it ended."""
        if not self.is_over:
            self.stands({**self.response, "status": "cancelled", "output": [], "usage": None}, [])
            if self.task is not None:
                self.task.cancel()

    def follow(self, after: str | None) -> AsyncIterator[bytes]:
        """Yield the events of the response, from the one after number *after* to the last.

        Raises:
            ApiRefusal: It was not created as a stream, or *after* is no number.
        """
        if not self._streamed:
            raise ApiRefusal("This response was not created with stream=true.", "stream", "invalid_value")
        if after is not None and not after.isdecimal():
            raise ApiRefusal("Invalid type for 'starting_after': expected an integer.", "starting_after")
        return self._follow(0 if after is None else int(after) + 1)

    async def _follow(self, number: int) -> AsyncIterator[bytes]:
        while True:
            for event in self._events[number:]:
                yield encode_event(number, event)
                number += 1
            if self.is_over and number >= len(self._events):
                return
            await self._changed.wait()
