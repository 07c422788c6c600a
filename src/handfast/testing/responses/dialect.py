"""Differences of a server that speaks the Responses API from OpenAI's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from handfast.testing.record import Json
from handfast.testing.responses.refusal import error_body

Events: TypeAlias = Iterable[Json]


def _as_openai(response: Json, body: Json) -> Json:
    return response


def _all(events: Events) -> Iterator[Json]:
    yield from events


def _accept(body: Json) -> None:
    """Accept every request."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """The way in which a server answers.

    Attributes:
        name: Its name, for `ResponsesServer(dialect=…)`.
        strict: It checks requests as OpenAI's server does.
        check: Refuses what else it does not take.
        stores: It keeps responses, and continues them by ``previous_response_id``.
        conversations: It has the Conversations API.
        background: It makes responses in the background.
        compacts: It compacts conversations.
        encrypts: It gives encrypted reasoning: where it is *asked* for by ``include``, or *always*.
        reply: Puts a response into its form. Gets the request too.
        events: Puts the events of a stream into its form.
        names_events: Each event has an ``event:`` line beside its data.
        before: What a stream begins with, before the first event.
        after: What a stream ends with, after the last event.
        error: Puts an error body into its form, from status, message, code and parameter.
    """

    name: str
    strict: bool = False
    check: Callable[[Json], None] = _accept
    stores: bool = True
    conversations: bool = False
    background: bool = False
    compacts: bool = False
    encrypts: str = "asked"
    reply: Callable[[Json, Json], Json] = _as_openai
    events: Callable[[Events], Iterator[Json]] = _all
    names_events: bool = True
    before: bytes = b""
    after: bytes = b""
    error: Callable[[int, str, str | None, str | None], Json] = error_body
