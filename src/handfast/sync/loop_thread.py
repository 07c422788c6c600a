"""An event loop in a thread of its own, in which a caller without one has coroutines run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, Final, TypeVar

from handfast.errors import UsageError

T = TypeVar("T")

_END: Final = object()


class LoopThread:
    """Runs coroutines, one call after the other from each thread that calls; the thread begins with the first one.

    Every client of a process shares one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: tuple[asyncio.AbstractEventLoop, threading.Thread] | None = None

    def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run the coroutine that *make* returns, to its end. An interrupt of the caller cancels it.

        Raises:
            UsageError: Called in the thread itself, which cannot wait for itself: in a callback of this client.
            BaseException: As the coroutine.
        """
        loop, thread = self._loop()
        if threading.current_thread() is thread:
            raise UsageError("handfast.sync", "a callback of this client cannot call it; return first, then call")

        async def made() -> T:
            return await make()  # in the loop, where a method may look for it

        future = asyncio.run_coroutine_threadsafe(made(), loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # where the wait was interrupted; a call that has ended takes no notice
            raise

    def iterate(self, make: Callable[[], AsyncGenerator[T]]) -> Generator[T]:
        """Yield what the asynchronous generator yields that *make* returns; it reads on when the caller does."""

        async def begin() -> AsyncGenerator[T]:
            return make()

        items = self.run(begin)
        try:
            while (item := self.run(lambda: _next(items))) is not _END:
                yield item
        finally:
            loop, thread = self._loop()
            if threading.current_thread() is thread:  # a generator that nobody holds any more may be let go of here
                loop.create_task(items.aclose())
            else:
                self.run(items.aclose)

    def _loop(self) -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
        with self._lock:
            if self._begun is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=loop.run_forever, name="handfast-sync", daemon=True)
                thread.start()
                self._begun = loop, thread
            return self._begun


async def _next(items: AsyncGenerator[Any]) -> Any:
    return await anext(items, _END)


LOOP: Final = LoopThread()
"""The one of this process."""
