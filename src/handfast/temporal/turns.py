"""Updates and queries of many callers at once: the server takes ten at a time, and gives up some that it had taken."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

from temporalio.client import WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from handfast.temporal.rpc import is_failed

AT_A_TIME: Final = 8
"""Updates, or queries, of this process to one run at a time. The server refuses the eleventh update of all processes;
eight leave room for a second process, and are as fast."""
TURN_WITHIN_S: Final = 4.0
"""Longest wait of a caller for its turn. A worker has longer to answer: where none does, those who wait do not begin
anew when the first ones give up."""
LONGEST_S: Final = 60.0
"""Longest wait for a turn where no signal stands in for the call, while others are answered."""
PATIENCE_S: Final = 10.0
"""From the first try on: the SDK repeats a call for ten seconds by itself, which is enough."""
PAUSES_S: Final = (0.1, 0.3, 1.0, 3.0)

T = TypeVar("T")


class _Turns:
    """The callers who wait for one run."""

    def __init__(self) -> None:
        self.free = asyncio.Semaphore(AT_A_TIME)
        self.callers = 0
        self.answers = 0


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Turns]] = WeakKeyDictionary()


async def in_turn(
    workflow_id: str, call: Callable[[], Awaitable[T | None]], *, while_answered: timedelta | None = None
) -> T | None:
    """Make a call to a run when fewer than `AT_A_TIME` others are under way.

    Args:
        workflow_id: The run's; queries have turns of their own.
        call: Returns None where no worker answered.
        while_answered: Wait longer, until nobody got an answer for so long: for what no signal stands in for.

    Returns:
        The answer; None where none came, or the turn did not come in time.
    """
    runs = _by_loop.setdefault(asyncio.get_running_loop(), {})
    turns = runs.setdefault(workflow_id, _Turns())
    turns.callers += 1
    try:
        if not await _came(turns, while_answered):
            return None
        try:
            answer = await patiently(call)
            turns.answers += answer is not None
            return answer
        finally:
            turns.free.release()
    finally:
        turns.callers -= 1
        if not turns.callers:
            runs.pop(workflow_id, None)


async def query_in_turn(workflow_id: str, ask: Callable[[timedelta], Awaitable[T]], within: timedelta) -> T:
    """Query a run, as one of many callers; no query of ours is answered by null.

    Args:
        workflow_id: The run's.
        ask: Asks, and waits for the answer for so long.
        within: Longest wait for a worker's answer.

    Raises:
        RPCError: No worker answered. WorkflowQueryFailedError: One could not.
    """

    async def call() -> T:
        try:
            return await ask(within)
        except WorkflowQueryFailedError:  # by the workflow, or by a worker that had no time to replay it
            return await ask(within)

    answer = await in_turn(f"queries of {workflow_id}", call, while_answered=within)
    if answer is None:
        raise RPCError("no worker answered those who asked before", RPCStatusCode.DEADLINE_EXCEEDED, b"")
    return answer


async def _came(turns: _Turns, while_answered: timedelta | None) -> bool:
    wait_s = TURN_WITHIN_S if while_answered is None else while_answered.total_seconds()
    until = time.monotonic() + (0 if while_answered is None else LONGEST_S)
    while True:
        answers = turns.answers
        try:
            await asyncio.wait_for(turns.free.acquire(), wait_s)
        except TimeoutError:
            if turns.answers == answers or time.monotonic() > until:
                return False
        else:
            return True


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Make a call again while the server answers that it did not do it: for calls that count once however often made.

    Raises:
        RPCError: The last one, where it never did.
    """
    until = time.monotonic() + PATIENCE_S
    for pause_s in PAUSES_S:
        try:
            return await call()
        except RPCError as error:
            if not is_failed(error) or time.monotonic() > until:
                raise
        await asyncio.sleep(random.uniform(pause_s / 2, pause_s))
    return await call()
