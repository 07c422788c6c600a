"""Make methods that block of methods that are awaited."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from handfast.sync.loop_thread import LOOP

A_co = TypeVar("A_co", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


class Blocking(Generic[A_co]):
    """Stands for an object whose methods are awaited.

    Attributes:
        asynchronous: That object. It belongs to the event loop of this client: use it for its values alone.
    """

    def __init__(self, asynchronous: A_co) -> None:
        self.asynchronous = asynchronous


def blocking(
    method: Callable[Concatenate[A_co, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Blocking[A_co], P], R]:
    """Make a method that waits for the result of *method*."""
    return turned(method, _same)


def turned(
    method: Callable[Concatenate[A_co, P], Coroutine[Any, Any, R]], into: Callable[[R], S]
) -> Callable[Concatenate[Blocking[A_co], P], S]:
    """Make a method that waits for the result of *method*, and returns what *into* makes of it."""

    @functools.wraps(method)
    def call(self: Blocking[A_co], /, *args: P.args, **kwargs: P.kwargs) -> S:
        return into(LOOP.run(lambda: method(self.asynchronous, *args, **kwargs)))

    return call


def named(
    method: Callable[Concatenate[A_co, P], R], into: Callable[[R], S]
) -> Callable[Concatenate[Blocking[A_co], P], S]:
    """Make a method that returns what *into* makes of the result of *method*, which is there at once."""

    @functools.wraps(method)
    def call(self: Blocking[A_co], /, *args: P.args, **kwargs: P.kwargs) -> S:
        async def made() -> R:
            return method(self.asynchronous, *args, **kwargs)

        return into(LOOP.run(made))

    return call


def iterating(
    method: Callable[Concatenate[A_co, P], AsyncGenerator[R]],
) -> Callable[Concatenate[Blocking[A_co], P], Generator[R]]:
    """Make a method that yields what *method* yields."""

    @functools.wraps(method)
    def call(self: Blocking[A_co], /, *args: P.args, **kwargs: P.kwargs) -> Generator[R]:
        return LOOP.iterate(lambda: method(self.asynchronous, *args, **kwargs))

    return call


def _same(result: R) -> R:
    return result
