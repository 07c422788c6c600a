"""`ask`: whatever a function of the user's does, its caller gets an answer or a problem."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from handfast.activities.runtime.user_code import Problem, ask


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Where sync functions run."""
    with ThreadPoolExecutor(2) as pool:
        yield pool


def _cancelled() -> None:
    raise asyncio.CancelledError("mine")


async def _cancelled_later() -> None:
    raise asyncio.CancelledError("mine")


async def _exits() -> None:
    raise SystemExit(3)


def _raises() -> None:
    raise ValueError("no order 7")


@pytest.mark.parametrize(
    ("function", "brief", "text"),
    [
        pytest.param(_raises, "raised ValueError", "raised ValueError: no order 7", id="raises"),
        pytest.param(_exits, "raised SystemExit", "raised SystemExit: 3", id="exits-in-the-loop"),
        pytest.param(lambda: sys.exit(3), "raised SystemExit", "raised SystemExit: 3", id="exits-in-a-thread"),
        pytest.param(_cancelled, "raised CancelledError", "raised CancelledError: mine", id="cancels-itself"),
        pytest.param(_cancelled_later, "raised CancelledError", "raised CancelledError: mine", id="likewise-async"),
    ],
)
async def test_an_exception_becomes_a_problem(
    threads: ThreadPoolExecutor, function: Any, brief: str, text: str
) -> None:
    """An exception of any kind is told in two lengths: its kind alone, and with what it says."""
    problem = await ask(function, name="it", within=5, threads=threads)
    assert isinstance(problem, Problem)
    assert (problem.brief, problem.text) == (brief, text)


async def test_a_function_that_takes_too_long_is_left_behind(threads: ThreadPoolExecutor) -> None:
    """A sync function, and an async one that swallows its cancellation, are left behind after their time."""
    go = threading.Event()
    swallowed = asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.set()
            await asyncio.Event().wait()

    for function in (go.wait, stubborn):
        problem = await ask(function, name="it", within=0.05, threads=threads)
        assert problem == Problem("took longer than 0.05 s")
    async with asyncio.timeout(5):
        await swallowed.wait()
    go.set()


async def test_an_answer_is_what_the_function_returned(threads: ThreadPoolExecutor) -> None:
    """Functions may be sync or async, objects that can be called, or sync ones that return a coroutine."""

    class Later:
        async def __call__(self, number: int) -> int:
            return number + 1

    async def later(number: int) -> int:
        return number + 1

    def coroutine(number: int) -> Any:
        return later(number)

    for function in (later, Later(), lambda number: number + 1, coroutine):
        assert await ask(function, 6, name="it", within=5, threads=threads) == 7


async def test_who_is_cancelled_while_it_asks_is_cancelled(threads: ThreadPoolExecutor) -> None:
    """A cancel of the caller ends the call, and is no problem of the function's."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def waits() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    asking = asyncio.create_task(ask(waits, name="it", within=30, threads=threads))
    await began.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    async with asyncio.timeout(5):
        await ended.wait()
