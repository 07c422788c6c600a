"""`Handfast` without ``await``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Concatenate, Literal, ParamSpec

from temporalio.client import Client

from handfast.client.client import Handfast as AsyncHandfast
from handfast.client.handle import AT_A_TIME
from handfast.client.many import Started
from handfast.client.run import Run as AsyncRun
from handfast.sync.executions import Run, Session
from handfast.sync.loop_thread import LOOP
from handfast.sync.methods import Blocking, blocking, iterating, named, turned

P = ParamSpec("P")


def _connecting(
    method: Callable[P, Coroutine[Any, Any, AsyncHandfast]],
) -> Callable[Concatenate[type[Handfast], P], Handfast]:
    @functools.wraps(getattr(method, "__func__", method))  # with its `cls`
    def connect(cls: type[Handfast], /, *args: P.args, **kwargs: P.kwargs) -> Handfast:
        return cls(LOOP.run(lambda: method(*args, **kwargs)))

    return connect


class Handfast(Blocking[AsyncHandfast]):
    """Start runs and sessions, find them, and decide what they ask, as `handfast.Handfast`, whose methods are those.

    Make it with `connect`.
    """

    @property
    def client(self) -> Client:
        """Temporal's client, connected. It belongs to the event loop of this client."""
        return self.asynchronous.client

    start = turned(AsyncHandfast.start, Run)

    def start_many(
        self,
        items: Iterable[Mapping[str, Any]],
        *,
        concurrency: int = AT_A_TIME,
        if_exists: Literal["fail", "attach"] = "attach",
        on_result: Callable[[Started[Run]], None] | None = None,
    ) -> list[Started[Run]]:
        """Start many runs, as `handfast.Handfast.start_many` does."""
        told = None if on_result is None else lambda each: on_result(_started(each))
        found = LOOP.run(
            lambda: self.asynchronous.start_many(items, concurrency=concurrency, if_exists=if_exists, on_result=told)
        )
        return [_started(each) for each in found]

    session = named(AsyncHandfast.session, Session)
    run = named(AsyncHandfast.run, Run)
    runs = blocking(AsyncHandfast.runs)
    requests = blocking(AsyncHandfast.requests)
    decide_many = blocking(AsyncHandfast.decide_many)
    attention = iterating(AsyncHandfast.attention)
    export = iterating(AsyncHandfast.export)
    erase = blocking(AsyncHandfast.erase)

    connect = classmethod(_connecting(AsyncHandfast.connect))


def _started(each: Started[AsyncRun]) -> Started[Run]:
    return Started(each.index, None if each.run is None else Run(each.run), each.error)
