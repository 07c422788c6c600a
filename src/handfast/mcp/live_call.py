"""A call to a server of an older protocol, which asks people while its session lives: it is held for the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final

from mcp.shared.dispatcher import ProgressFnT
from mcp_types import CallToolResult, ElicitRequest, ElicitRequestParams, ElicitResult, InputRequiredResult

from handfast.mcp.elicitation import asked_of
from handfast.mcp.tool import McpToolError, StillWaits
from handfast.payloads.mcp import McpAnswer, McpAsked

__all__ = ["LiveCall"]

HELD_S: Final = 7 * 24 * 3600.0
"""How long a server is held up for an answer: then it hears that nobody gave one."""
LOOK_S: Final = (5.0, 300.0)
"""Shortest and longest pause between two looks whether its call still waits: nothing tells of its end."""
QUESTION: Final = "question"

Answered = CallToolResult | McpAsked


class LiveCall:
    """The request at the server, and its questions one after the other."""

    def __init__(self) -> None:
        """Begin with nothing sent."""
        self._task: asyncio.Task[Answered] | None = None
        self._questions: asyncio.Queue[McpAsked] = asyncio.Queue()
        self._answer: asyncio.Future[ElicitResult] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._asked: McpAsked | None = None
        self.heard: ProgressFnT | None = None

    def begin(self, sending: Coroutine[object, object, Answered]) -> None:
        """Send the request."""
        self._task = asyncio.create_task(sending)
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may wait for it

    @property
    def may_ask(self) -> bool:
        """True while it runs at the server, and waits for no answer."""
        return self._task is not None and not self._task.done() and self._answer is None

    async def told(self, progress: float, total: float | None, message: str | None) -> None:
        """Hand progress on to whoever waits for the call now."""
        if self.heard is not None:
            await self.heard(progress, total, message)

    async def ask(self, params: ElicitRequestParams) -> ElicitResult:
        """Put a question of the server to people, and wait for the answer."""
        wanted = InputRequiredResult(input_requests={QUESTION: ElicitRequest(params=params)})
        try:
            asked = asked_of(wanted, self._asked).model_copy(update={"held": True})
        except McpToolError:
            return ElicitResult(action="cancel")
        self._asked = asked
        self._answer = asyncio.get_running_loop().create_future()
        self._questions.put_nowait(asked)
        try:
            return await asyncio.wait_for(self._answer, HELD_S)
        except TimeoutError:
            return ElicitResult(action="cancel")
        finally:
            self._answer = None

    def hold(self, waits: StillWaits, drop: Callable[[], object]) -> None:
        """Wait for an answer; where the call no longer does, cancel it at the server, and *drop* it."""
        self._watch = asyncio.create_task(self._watched(waits, drop))

    async def _watched(self, waits: StillWaits, drop: Callable[[], object]) -> None:
        pause, longest = LOOK_S
        while self._answer is not None:
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)
            if not await waits():
                drop()
                self.cancel()
                return

    def answer(self, given: McpAnswer) -> None:
        """Let the server have an answer."""
        if self._watch is not None:
            self._watch.cancel()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(ElicitResult(action=given.action, content=given.content))

    async def next(self) -> Answered:
        """Wait for the call's end, or for its next question; whoever is cancelled meanwhile cancels the call."""
        assert self._task is not None
        asking = asyncio.create_task(self._questions.get())
        try:
            await asyncio.wait({self._task, asking}, return_when=asyncio.FIRST_COMPLETED)
            if self._task.done():
                return self._task.result()
            return asking.result()
        except asyncio.CancelledError:
            self.cancel()
            raise
        finally:
            asking.cancel()

    def cancel(self) -> None:
        """Cancel the request at the server."""
        for task in (self._task, self._watch):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
