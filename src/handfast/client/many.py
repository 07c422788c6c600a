"""Many runs at once: started and decided with bounded concurrency, each with an answer of its own."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from handfast.client.lists import OpenRequest
from handfast.client.run import Run
from handfast.client.start import Starting
from handfast.client.stores import Stores
from handfast.payloads.requests import Receipt, Verdict

AT_A_TIME: Final = 20
"""Starts or decisions that are under way at a time."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Started:
    """What became of one start.

    Attributes:
        index: Its position among what was given.
        run: The run, started or attached to; None where it failed.
        error: Why it failed: what `Handfast.start` raises.
    """

    index: int
    run: Run | None = None
    error: Exception | None = None


@dataclass(frozen=True)
class Decided:
    """What became of one decision.

    Attributes:
        asked: The request and its run.
        receipt: That it was recorded or stored; None where it was refused.
        error: Why it was refused: what `Run.decide` raises.
    """

    asked: OpenRequest
    receipt: Receipt | None = None
    error: Exception | None = None


class Many(Starting):
    """Starts and decides many at once."""

    stores: Stores

    async def start_many(
        self,
        items: Iterable[Mapping[str, Any]],
        *,
        concurrency: int = AT_A_TIME,
        if_exists: Literal["fail", "attach"] = "attach",
        on_result: Callable[[Started], None] | None = None,
    ) -> list[Started]:
        """Start many runs; one that fails stops no other.

        Give each an id: then the same call again attaches to what goes on by then instead of starting it twice.

        Args:
            items: The arguments of `start`, by name.
            concurrency: Most starts under way at a time.
            if_exists: Where an item says nothing of it: what to do when a run of its id goes on.
            on_result: Called with each result as it comes, in whatever order.

        Returns:
            One result for each item, in their order.

        Raises:
            TypeError: An item has an argument that `start` does not take, or lacks one; nothing was started.
            ValueError: *concurrency* is below 1.
        """
        given = [{"if_exists": if_exists, **item} for item in items]
        takes = inspect.signature(self.start)
        for each in given:
            takes.bind(**each)

        async def start(index: int) -> Started:
            try:
                return Started(index, run=await self.start(**given[index]))
            except Exception as error:  # noqa: BLE001 - a codec's or an argument's too: it is this item's alone
                return Started(index, error=error)

        return await _at_most(concurrency, start, range(len(given)), on_result)

    async def decide_many(
        self,
        requests: Sequence[OpenRequest],
        verdict: Verdict | Callable[[OpenRequest], Verdict],
        *,
        decided_by: str,
        note: str | None = None,
        concurrency: int = AT_A_TIME,
        on_result: Callable[[Decided], None] | None = None,
    ) -> list[Decided]:
        """Decide many requests; one that is refused stops no other.

        Each decision carries the digest of its request, so only what was listed is decided.

        Args:
            requests: As `requests` lists them.
            verdict: The same for all, or a function that says it for each.
            decided_by: A claimed name, recorded.
            note: Recorded beside each.
            concurrency: Most decisions under way at a time.
            on_result: Called with each result as it comes, in whatever order.

        Returns:
            One result for each request, in their order.

        Raises:
            ValueError: *concurrency* is below 1.
        """
        verdicts = [verdict(each) if callable(verdict) else verdict for each in requests]

        async def decide(index: int) -> Decided:
            asked = requests[index]
            run = Run(self.client, asked.run, stores=self.stores)
            try:
                receipt = await run.decide(asked.request, verdicts[index], decided_by=decided_by, note=note)
            except Exception as error:  # noqa: BLE001 - as above
                return Decided(asked, error=error)
            return Decided(asked, receipt)

        return await _at_most(concurrency, decide, range(len(requests)), on_result)


async def _at_most(
    concurrency: int, work: Callable[[T], Awaitable[R]], items: Iterable[T], on_result: Callable[[R], None] | None
) -> list[R]:
    """Do *work* for each item, some at a time; the results are in the items' order."""
    if concurrency < 1:
        raise ValueError("concurrency must be 1 or more")
    room = asyncio.Semaphore(concurrency)

    async def one(item: T) -> R:
        async with room:
            result = await work(item)
        if on_result is not None:
            on_result(result)
        return result

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(item)) for item in items]
    return [task.result() for task in tasks]
