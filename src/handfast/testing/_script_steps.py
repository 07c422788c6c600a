"""The steps of a script: what the server does with one request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import ConfigDict, Field, JsonValue

from handfast.testing._script_outputs import Output, Text
from handfast.testing.record import Json, RecordedRequest

_CLOSED = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class Usage:
    """Token counts of a reply."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, init=False)
class Reply:
    """Answer with a response.

    Args:
        outputs: What the model puts out, in order; none is an empty reply, several calls are parallel calls.
        usage: Token counts; by default about a quarter of the characters.
        status: `incomplete` for a reply that was cut off, `failed` for one that the provider gave up.
        incomplete_reason: Why; `max_output_tokens` where *status* is `incomplete` and nothing else is said.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    outputs: tuple[Output, ...] = ()
    usage: Usage | None = None
    status: Literal["completed", "incomplete", "failed"] = "completed"
    incomplete_reason: Literal["max_output_tokens", "content_filter"] | None = None
    kind: Literal["reply"] = "reply"

    def __init__(
        self,
        *outputs: Output,
        usage: Usage | None = None,
        status: Literal["completed", "incomplete", "failed"] = "completed",
        incomplete_reason: Literal["max_output_tokens", "content_filter"] | None = None,
    ) -> None:
        fields = {
            "outputs": outputs,
            "usage": usage,
            "status": status,
            "incomplete_reason": incomplete_reason,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)  # the way into a frozen dataclass


@dataclass(frozen=True)
class Compacted:
    """Answer a request to compact a conversation (``POST /responses/compact``): with the user's messages and one
    compaction item.

    Args:
        usage: Token counts; by default about a quarter of the characters.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    usage: Usage | None = None
    kind: Literal["compacted"] = "compacted"


@dataclass(frozen=True)
class Fail:
    """Answer with an error.

    Args:
        status: HTTP status from 400 to 599.
        message: The error's text; a sentence that fits *status* where None.
        code: The error's code; one that fits *status* where None.
        retry_after: Seconds for the `retry-after` header; no header where None.
        inside: Send HTTP status 200, with the error inside: as an ``error`` event of the stream, or as a *response*
            that failed. Without a stream an *event* is a body that holds the error.
        headers: Further headers of the answer.
        param: The parameter at fault.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    status: int
    message: str | None = None
    code: str | None = None
    retry_after: float | None = None
    inside: Literal["event", "response"] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    param: str | None = None
    kind: Literal["fail"] = "fail"

    def __post_init__(self) -> None:
        if not 400 <= self.status <= 599:
            raise ValueError(f"{self.status} is no failure: use a status from 400 to 599")


@dataclass(frozen=True)
class Verbatim:
    """Answer with exactly this, for what other servers say and this one never would.

    Args:
        body: The body: JSON, or a text that is sent as it is.
        events: Server-sent events, in place of a body where the request asks for a stream: the data of each.
        status: HTTP status.
        headers: Further headers; ``content-type`` in place of the usual one.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    body: JsonValue = None
    events: Sequence[Json | str] | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: Literal["verbatim"] = "verbatim"


@dataclass(frozen=True)
class Hang:
    """Accept the request and never answer, until the client goes away or the server closes.

    Args:
        seconds: Close the connection after this time instead.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    seconds: float | None = None
    kind: Literal["hang"] = "hang"


@dataclass(frozen=True)
class Drop:
    """Close the connection in the middle.

    Args:
        after_bytes: How much of the reply's *body* is sent before; with 0 not even the status line.
        then: The reply that is begun.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    after_bytes: int = 0
    then: Reply = field(default_factory=lambda: Reply(Text("This never arrives as a whole.")))
    kind: Literal["drop"] = "drop"


@dataclass(frozen=True)
class Delay:
    """Wait, then go on with another step.

    Args:
        seconds: How long.
        then: The step that follows.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    seconds: float
    then: Step
    kind: Literal["delay"] = "delay"


@dataclass(frozen=True)
class Gate:
    """Wait until the test calls `ResponsesServer.open`, then go on with another step.

    Args:
        name: The gate's name; several steps may wait at one gate, and once open it stays open.
        then: The step that follows.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    name: str
    then: Step
    kind: Literal["gate"] = "gate"


@dataclass(frozen=True)
class Pause:
    """Begin to stream a reply, and wait in the middle of it until the test calls `ResponsesServer.open`.

    Args:
        name: The gate's name, as of a `Gate`; a request without `stream` waits there before it is answered.
        then: The reply.
        after: How many deltas are sent before.
        error: Code of an `error` event that ends the stream in place of the rest.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    name: str
    then: Reply
    after: Annotated[int, Field(ge=1)] = 1
    error: str | None = None
    kind: Literal["pause"] = "pause"


Step: TypeAlias = Annotated[
    Reply | Compacted | Fail | Verbatim | Hang | Drop | Delay | Gate | Pause, Field(discriminator="kind")
]


@dataclass(frozen=True)
class When:
    """A rule: play *then* for a request for which every given condition holds.

    Args:
        predicate: Decides by the whole request.
        then: The step to play, each time that the rule matches.
        contains: Found anywhere in the texts of the effective input.
        first_user: Found in the first user message.
        latest: Found in what came after the model's last turn (new messages and tool outputs).
        instructions: Found in the instructions: tells agents apart.
        model: The model's name.
        turn: How many turns the model already had.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    predicate: Callable[[RecordedRequest], bool] | None = None
    then: Step = field(kw_only=True)
    contains: str | None = field(default=None, kw_only=True)
    first_user: str | None = field(default=None, kw_only=True)
    latest: str | None = field(default=None, kw_only=True)
    instructions: str | None = field(default=None, kw_only=True)
    model: str | None = field(default=None, kw_only=True)
    turn: int | None = field(default=None, kw_only=True)
    kind: Literal["when"] = field(default="when", kw_only=True)

    def matches(self, request: RecordedRequest) -> bool:
        """Tell whether every given condition holds for *request*."""
        return (
            (self.predicate is None or self.predicate(request))
            and (self.contains is None or self.contains in request.text)
            and (self.first_user is None or self.first_user in request.first_user_text)
            and (self.latest is None or self.latest in request.latest_text)
            and (self.instructions is None or self.instructions in request.instructions)
            and (self.model is None or self.model == request.model)
            and (self.turn is None or self.turn == request.turns)
        )
