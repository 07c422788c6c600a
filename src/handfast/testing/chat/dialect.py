"""Differences of a server that speaks the Chat Completions API from OpenAI's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from handfast.testing.record import Json

Chunks: TypeAlias = Iterable[Json]
Error: TypeAlias = Callable[[int, str, str | None, str | None], Json]
"""Makes an error body of status, message, code and parameter."""


def _as_openai(completion: Json, body: Json) -> Json:
    return completion


def _all(chunks: Chunks, completion: Json) -> Iterator[Json]:
    yield from chunks


def _accept(body: Json) -> None:
    """Accept every request."""


def _told(error: Json, head: Json) -> Json:
    return error


@dataclass(frozen=True, kw_only=True)
class ChatDialect:
    """The way in which a server answers.

    Attributes:
        name: Its name, for `ResponsesServer(dialect=…)`.
        strict: It refuses parameters, and fields of messages and tools, that it does not know.
        custom: It has custom tools beside functions.
        check: Refuses what else it does not take.
        thoughts: The field of an assistant message whose content has to come back with the calls that it led to.
        reply: Puts a completion into its form. Gets the request too.
        chunks: Puts the chunks of a stream into its form. Gets the completion too.
        before: What a stream begins with, before the first chunk.
        error: Puts an error body into its form; None where it is the one that its Responses API has.
        broken: Puts an error into the form of a chunk. Gets the fields that all chunks share too.
        names_errors: An error inside a stream has a line ``event: error``.
    """

    name: str
    strict: bool = False
    custom: bool = False
    check: Callable[[Json], None] = _accept
    thoughts: str | None = None
    reply: Callable[[Json, Json], Json] = _as_openai
    chunks: Callable[[Chunks, Json], Iterator[Json]] = _all
    before: bytes = b""
    error: Error | None = None
    broken: Callable[[Json, Json], Json] = _told
    names_errors: bool = False
