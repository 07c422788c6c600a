"""Input, status and result of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Generic, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    SerializeAsAny,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticSerializationError
from typing_extensions import TypeVar

from handfast.payloads.base import Claimed, Name, Payload, json_size, problems_of
from handfast.payloads.errors import JsonProfileError, PayloadInvalidError
from handfast.payloads.guardrails import GuardrailResult
from handfast.payloads.history import History, KeptHistory
from handfast.payloads.json_profile import JsonObject, JsonValue, check_json
from handfast.payloads.messages import OnMessage
from handfast.payloads.model_settings import problem_of_settings
from handfast.payloads.usage import RequestUsage, Usage


def _label_key(key: str) -> str:
    if not 0 < len(key) <= 64 or "=" in key or any(char.isspace() for char in key):
        raise ValueError("a label's key has 1 to 64 characters, without spaces and =")
    return key


Label = Annotated[str, AfterValidator(_label_key)]

RunPhase = Literal["running", "waiting", "idle", "completed", "failed", "cancelled"]
"""*waiting*: at least one request is open. *idle*: an `AgentHost` with nothing to do."""


OWN_WORKFLOWS: Final = frozenset({"AgentRun", "AgentSession"})
"""Types of our own workflows whose handlers have no prefix."""

LABELS_BYTES = 2000
"""Most bytes of all labels: the server ends a run that publishes a search attribute above 2,048."""


SETTINGS_BYTES: Final = 32 * 1024
"""Most bytes of the model settings of one run: every activity of the run may fetch them."""


def published_labels(labels: Mapping[str, str]) -> list[str]:
    """Return labels as the search attribute holds them: ``key=value``, sorted, as many as fit."""
    shown: list[str] = []
    room = LABELS_BYTES
    for label in sorted(f"{key}={value}" for key, value in labels.items()):
        room -= len(json.dumps(label)) + 2
        if room < 0:
            break
        shown.append(label)
    return shown


class RunInput(Payload):
    """The one argument of the workflow `AgentRun`.

    `input` is a text, or items as the Responses API takes them (messages of the user, earlier output). Leaving out
    `max_turns` takes the agent's own limit; an explicit null means no limit. `segment_events` says after how many
    events of its Temporal history the run goes on in a fresh one; 2,000 by default. `history` lets the model's provider
    keep the conversation: ``{"kind": "chain"}`` or ``{"kind": "conversation"}``, as `Chain` and `Conversation` say.
    With `stream` deltas are told on the way. `on_message` says what becomes of a message that comes when no model call
    is to come: *follow_up* (default) opens a further turn where one is left. `model_queue` is the task
    queue of its model calls, where that is another one. `model` and `model_settings` go before those of every agent of
    the run; a null among the settings takes one of the agent's away.
    """

    agent: Annotated[str, Field(min_length=1, max_length=64)]
    input: str | list[JsonObject]
    context: JsonObject | None = None
    max_turns: Annotated[int, Field(ge=1)] | None = None
    labels: Annotated[dict[Label, Annotated[str, StringConstraints(max_length=128)]], Field(max_length=20)] = {}
    requested_by: Claimed | None = None
    segment_events: Annotated[int, Field(ge=40, le=10_000)] | None = None
    history: History | None = None
    stream: bool | None = None
    on_message: OnMessage | None = None
    model_queue: Name | None = None
    model: Name | None = None
    model_settings: JsonObject | None = None

    @field_validator("model_settings")
    @classmethod
    def _can_be_sent(cls, settings: JsonObject | None) -> JsonObject | None:
        if settings is None:
            return None
        problem = problem_of_settings(settings)
        text = settings.get("text")
        if problem is None and isinstance(text, dict) and "format" in text:
            problem = "model_settings must not hold text.format: an agent's output_type sets it"
        if problem is None and json_size(settings) > SETTINGS_BYTES:
            problem = f"model_settings may take {SETTINGS_BYTES:,} bytes"
        if problem is not None:
            raise ValueError(problem)
        return settings

    @field_validator("labels")
    @classmethod
    def _publishable(cls, labels: dict[str, str]) -> dict[str, str]:
        if len(published_labels(labels)) < len(labels):
            raise ValueError(f"all labels together may take {LABELS_BYTES} bytes as a JSON list of key=value")
        return labels

    @model_validator(mode="after")
    def _something_to_read(self) -> RunInput:
        if not self.input:
            raise ValueError("input is empty; give the agent a text or a list of items")
        return self

    @property
    def limits_turns(self) -> bool:
        """True where `max_turns` was given, null included."""
        return "max_turns" in self.model_fields_set

    def to_start(self) -> JsonObject:
        """Return `to_wire` with an explicit null as `max_turns`, which differs from none at all."""
        return {**self.to_wire(), **({"max_turns": self.max_turns} if self.limits_turns else {})}


def context_to_wire(context: object) -> JsonObject | None:
    """Return the context of a start as JSON; nothing is converted that would not read back the same.

    Args:
        context: None, a JSON object, or a pydantic model.

    Raises:
        PayloadInvalidError: It is something else, or holds what is no JSON (for a model: or is masked in it).
    """
    if context is None:
        return None
    if isinstance(context, BaseModel):
        return _model_to_wire(context)
    if not isinstance(context, dict):
        raise _no_context(f"is a {type(context).__name__}, and must be a JSON object or a pydantic model")
    try:
        check_json(context)
    except JsonProfileError as error:
        raise _no_context(error.problem) from None
    return context


def _model_to_wire(context: BaseModel) -> JsonObject:
    name = type(context).__name__
    try:
        plain = context.model_dump(mode="json", by_alias=True, round_trip=True, warnings="error")
        check_json(plain)
        read = type(context).model_validate(plain)
    except JsonProfileError as error:
        raise _no_context(error.problem) from None
    except ValidationError as error:
        raise _no_context(f"{name} does not read its own JSON: {'; '.join(problems_of(error))}") from None
    except PydanticSerializationError:
        raise _no_context(f"{name} holds what has no JSON; keep it in the worker's resources") from None
    if read.model_dump(round_trip=True) != context.model_dump(round_trip=True):
        raise _no_context(f"{name} is not the same when it is read back from JSON (does it hold a secret?)")
    return plain


def _no_context(problem: str) -> PayloadInvalidError:
    return PayloadInvalidError(RunInput.__name__, [f"context: {problem}"])


class RunFacts(Payload):
    """Facts of a run for agent code, in a block of their own, so that no activity input repeats them."""

    context: JsonObject | None = None
    labels: dict[str, str] = {}
    requested_by: str | None = None
    model: str | None = None
    model_settings: JsonObject | None = None


Output = TypeVar("Output", default=JsonValue)
AnswerT_co = TypeVar("AnswerT_co", default=Any, covariant=True)
"""Type of an agent's answers, as type checkers know it."""


class RunResult(Payload, Generic[Output]):
    """Result of a finished run.

    Attributes:
        output: The last reply's text; for an agent with an `output_type` its JSON value, or the type itself where it
            was asked for.
        agent: Name of the agent that answered.
        context: The run's context as its tools left it; None where none of them changed it, or where it would not fit
            into the result beside the output.
        turns: Number of model replies; those of nested agents do not count.
        usage: Tokens of the run and of everything below it.
        by_request: The same, reply by reply in their order: the last 1,000, as far as they take 200 KB.
        guardrails: Verdicts of guardrails: the latest 100.
        stopped: Reason of a stop after a turn, where there was one: `output` is then the text up to it.
        response_id: Id of the last reply at the model's provider, where it gave one. None where a guardrail put
            another output in its place: who goes on from there would send the model what was replaced.
        items: The run's conversation, input included, as the Responses API takes it; None unless ``result(items=True)``
            asked for it. It is never part of the result on the wire.
    """

    output: SerializeAsAny[Output] = cast(Any, None)  # a null is left out on the wire
    agent: str
    turns: int
    usage: Usage = Usage()
    by_request: list[RequestUsage] = []
    guardrails: list[GuardrailResult] = []
    context: JsonObject | None = None
    stopped: str | None = None
    response_id: str | None = None
    items: list[JsonObject] | None = None


class CallStatus(Payload):
    """One call of the turn under way, of the run's agent or of one below it."""

    call_id: str
    tool: str
    state: str
    request: str | None = None
    agent_path: list[str] = []


class RunStatus(Payload):
    """The answer of the query `status`.

    Attributes:
        status: Where the run stands.
        pending: How many requests wait for a person.
        usage: So far, also of a run that has failed or was cancelled.
        by_request: The same, reply by reply, as in a `RunResult`.
        calls: Calls of the turn under way, in the model's order.
        problem: Why the run cannot go on without a person or a deploy, if so.
        guardrails: What guardrails have said so far: the latest 100.
        history: What the model's provider keeps of the conversation, where that was asked for.
    """

    status: RunPhase
    agent: str | None = None
    turn: int = 0
    pending: int = 0
    usage: Usage = Usage()
    by_request: list[RequestUsage] = []
    calls: list[CallStatus] = []
    problem: str | None = None
    guardrails: list[GuardrailResult] = []
    history: KeptHistory | None = None
