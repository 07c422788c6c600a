"""The port of a model provider: requests, answers and errors, whatever its API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, Protocol, runtime_checkable

from handfast.models.provider_error import ProviderError
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.usage import Usage


@dataclass(frozen=True, slots=True)
class ModelDelta:
    """A piece of a reply that is still being written.

    Attributes:
        item: Position of its item in the reply.
        call_id: Of the call whose arguments it is a piece of.
    """

    kind: Literal["text", "reasoning", "arguments"]
    item: int
    text: str
    call_id: str | None = None


OnDelta = Callable[[ModelDelta], None]


@dataclass(frozen=True, kw_only=True)
class Background:
    """Asks for a response that is made while nobody has to hold a connection.

    Attributes:
        remember: Is told the id of a response that was begun, and returns once that is safe from a crash of the
            worker; None: there is nothing left to pick up.
        withdrawn: Whether being cancelled means that nobody wants the response any more; otherwise another attempt
            picks it up.
        patience_s: How long one attempt waits.
        resume: A response that was begun, and is to be waited for in place of a new one.
    """

    remember: Callable[[str | None], Awaitable[None]]
    withdrawn: Callable[[], bool]
    patience_s: float
    resume: str | None = None


class StillUnderwayError(Exception):
    """A background response takes longer than one attempt can wait."""

    def __init__(self, response: str) -> None:
        super().__init__(f"the response {response} is still being made")
        self.response = response


@dataclass(frozen=True, kw_only=True)
class Transport:
    """Transport options of a request, beside its body. A provider without HTTP may leave it alone.

    Attributes:
        headers: Further headers; None takes away one that the client would send.
        query: Further parameters of the query.
        timeout_s: How long the provider may take, in place of the client's own limit.
    """

    headers: Mapping[str, str | None] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """One request: everything the model sees.

    Attributes:
        model: Its name; empty where a prompt template among the settings names it.
        items: The conversation, as the Responses API takes it.
        tools: Tool definitions, as the Responses API takes them.
        settings: Further fields of the request.
        transport: How it is sent.
        store: The provider keeps the response, so that another one can continue it.
        previous_response_id: The stored response that this one continues; `items` are what is new.
        conversation: Likewise, the conversation that this response is made on.
        on_delta: Wants to be told each piece of the reply as it comes; never blocks, never raises. A provider that
            cannot stream need not call it: the answer is what counts.
        background: The response is made in the background. A provider that cannot do so may answer as ever.
    """

    model: str
    instructions: str
    items: Sequence[JsonObject]
    tools: Sequence[JsonObject] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    transport: Transport = field(default_factory=Transport)
    store: bool = False
    previous_response_id: str | None = None
    conversation: str | None = None
    on_delta: OnDelta | None = None
    background: Background | None = None


@dataclass(frozen=True, kw_only=True)
class ModelAnswer:
    """One reply as it came.

    Attributes:
        incomplete: Why the reply stops in the middle, None for a whole one.
        left_out: What the request went without, as its server refuses it: paths of fields.
        kept: False where the provider says that it has not kept the response, whatever the request asked for.
    """

    items: list[JsonObject]
    usage: Usage
    response_id: str | None = None
    incomplete: str | None = None
    left_out: tuple[str, ...] = ()
    kept: bool = True


ModelErrorKind = Literal[
    "ModelBusy", "ModelUnavailable", "ModelRefused", "ModelReplyInvalid", "HistoryLost", "ResponseForgotten"
]
"""*HistoryLost*: the provider does not know (any more) what the request continues. *ResponseForgotten*: nor the
background response that was to be picked up."""


class ModelCallError(Exception):
    """A model call failed; says whether a retry can help.

    Retries are bounded by time, except that a run asks three times at most for a reply that can be read
    (``ModelReplyInvalid``).

    Attributes:
        retry_after: What the provider asked for.
        usage: What it counted, where it gave a reply that cannot be used.
        said: The provider's own words, where it said something.
    """

    def __init__(
        self,
        kind: ModelErrorKind,
        message: str,
        *,
        retryable: bool,
        retry_after: timedelta | None = None,
        usage: Usage | None = None,
        said: ProviderError | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retryable = retryable
        self.retry_after = retry_after
        self.usage = usage
        self.said = said


@runtime_checkable
class CompactingPort(Protocol):
    """A provider that can compact a conversation."""

    async def compact(self, request: ModelRequest) -> ModelAnswer:
        """Compact the items of *request* once; the answer's items stand in for them.

        Raises:
            ModelCallError: It did not answer, or not with a compacted conversation.
        """
        ...


@runtime_checkable
class ModelPort(Protocol):
    """A provider of models, for ``HandfastPlugin(models={…})``; docs/models.md shows how to write one.

    Cancelling the task that awaits `answer` closes its connection.
    """

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Call the model once.

        Raises:
            ModelCallError: It did not answer, or not with a reply.
        """
        ...


@runtime_checkable
class SettingsPort(Protocol):
    """A provider that knows the settings of its requests: a worker refuses an agent with others when it starts."""

    @property
    def known_settings(self) -> Collection[str]:
        """Names that ``Agent(model_settings=…)`` may hold."""
        ...


@runtime_checkable
class NamedPort(Protocol):
    """A provider whose entry names a model: agents of it need name none."""

    @property
    def model(self) -> str | None:
        """The model that is asked for agents that name none."""
        ...


@runtime_checkable
class BoundedPort(Protocol):
    """A provider that takes so many tools in one request: a worker refuses an agent with more when it starts."""

    @property
    def max_tools(self) -> int | None:
        """The limit; None where there is none."""
        ...


class ConversationPort(Protocol):
    """Conversations at a provider. Every method raises `ModelCallError`; ``HistoryLost`` where it knows none of it."""

    async def create(self) -> str:
        """Make an empty conversation; return its id."""
        ...

    async def last_item(self, conversation: str) -> str | None:
        """Id of the newest item; None where there is none."""
        ...

    async def items_after(self, conversation: str, item: str | None) -> list[JsonObject]:
        """Everything after *item*, oldest first; all of it where that is None."""
        ...

    async def delete_item(self, conversation: str, item: str) -> None:
        """Delete one item; one that is gone already is no failure."""
        ...

    async def add_items(self, conversation: str, items: Sequence[JsonObject]) -> str | None:
        """Append items; return the id of the last one."""
        ...


@runtime_checkable
class HistoryPort(Protocol):
    """A provider that keeps histories, and honours what a `ModelRequest` continues: a response or a conversation."""

    @property
    def conversations(self) -> ConversationPort:
        """Its conversations."""
        ...

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """As `ModelPort`."""
        ...


def model_of(port: ModelPort) -> str | None:
    """Return the model that an entry names, if it does."""
    return port.model if isinstance(port, NamedPort) else None


def most_tools_of(port: ModelPort) -> int | None:
    """Return how many tools one request to a provider takes; None where there is no limit."""
    return port.max_tools if isinstance(port, BoundedPort) else None
