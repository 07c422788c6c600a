"""Start and decide many runs at once, with bounded concurrency; each start or decision has a result of its own."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from temporalio.client import Client
from typing_extensions import TypeVar as DefaultTypeVar

from handfast.client.lists import OpenRequest
from handfast.client.run import Run
from handfast.client.stores import Stores
from handfast.payloads.requests import Receipt, Verdict

T = TypeVar("T")
R = TypeVar("R")
StartedRun = DefaultTypeVar("StartedRun", default=Run)


@dataclass(frozen=True)
class Started(Generic[StartedRun]):
    """The result of one start.

    Attributes:
        index: Its position among what was given.
        run: The run, started or attached to; None where it failed.
        error: Why it failed: what `Handfast.start` raises.
    """

    index: int
    run: StartedRun | None = None
    error: Exception | None = None


@dataclass(frozen=True)
class Decided:
    """The result of one decision.

    Attributes:
        asked: The request and its run.
        receipt: That it was recorded or stored; None where it was refused.
        error: Why it was refused: what `Run.decide` raises.
    """

    asked: OpenRequest
    receipt: Receipt | None = None
    error: Exception | None = None


async def start_many(
    start: Callable[..., Awaitable[Run]],
    items: Iterable[Mapping[str, Any]],
    *,
    concurrency: int,
    if_exists: Literal["fail", "attach"],
    on_result: Callable[[Started], None] | None,
) -> list[Started]:
    """See `Handfast.start_many`; *start* is `Handfast.start`."""
    given = [{"if_exists": if_exists, **item} for item in items]
    takes = inspect.signature(start)
    for each in given:
        takes.bind(**each)

    async def started(index: int) -> Started:
        try:
            return Started(index, run=await start(**given[index]))
        except Exception as error:  # noqa: BLE001 - a codec's or an argument's too: it is this item's alone
            return Started(index, error=error)

    return await _at_most(concurrency, started, range(len(given)), on_result)


async def decide_many(
    client: Client,
    stores: Stores,
    requests: Sequence[OpenRequest],
    verdict: Verdict | Callable[[OpenRequest], Verdict],
    *,
    decided_by: str,
    note: str | None,
    concurrency: int,
    on_result: Callable[[Decided], None] | None,
) -> list[Decided]:
    """See `Handfast.decide_many`."""
    verdicts = [verdict(each) if callable(verdict) else verdict for each in requests]

    async def decided(index: int) -> Decided:
        asked = requests[index]
        run = Run(client, asked.run, stores=stores)
        try:
            receipt = await run.decide(asked.request, verdicts[index], decided_by=decided_by, note=note)
        except Exception as error:  # noqa: BLE001 - as above
            return Decided(asked, error=error)
        return Decided(asked, receipt)

    return await _at_most(concurrency, decided, range(len(requests)), on_result)


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
