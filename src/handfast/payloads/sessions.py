"""Input of a session, and the results of its messages."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, cast

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from handfast.payloads.base import Claimed, Name, Payload
from handfast.payloads.conversation import first_torn
from handfast.payloads.cutting import Reason
from handfast.payloads.guardrails import GuardrailResult
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.requests import Cost
from handfast.payloads.runs import Output, RunInput
from handfast.payloads.usage import Usage

OnBusy = Literal["queue", "steer", "refuse"]
"""Fate of a message while another one is being answered: it gets a turn of its own after that, it goes into
that one before the next model call, or it is refused."""

MessageState = Literal["unknown", "queued", "working", "answered", "failed", "refused"]
"""*working*: its turn is under way. *failed*: its turn ended without an answer."""


class SessionInput(RunInput):
    """The one argument of the workflow `AgentSession`.

    Attributes:
        import_items: What was said before, as the Responses API takes it: the conversation begins with it.
        max_turns: Most model replies for one message.
        max_session_turns: Most model replies of the whole session; None is no limit.
        max_session_tokens: Most tokens of the whole session, nested agents included; None is no limit.
        max_session_cost: Most money of the whole session, likewise.
        on_message: What happens to a message while another one is being answered.
    """

    input: list[JsonObject] = []
    import_items: list[JsonObject] = []
    max_session_turns: Annotated[int, Field(ge=1)] | None = None
    max_session_tokens: Annotated[int, Field(ge=1)] | None = None
    max_session_cost: Cost | None = None
    on_message: OnBusy = "queue"  # type: ignore[assignment] # a session has turns to give, so it knows other answers

    @field_validator("import_items")
    @classmethod
    def _can_be_read(cls, items: list[JsonObject]) -> list[JsonObject]:
        for place, item in enumerate(items):
            if not isinstance(item.get("type", "message"), str) or not item.keys() & {"type", "role"}:
                raise ValueError(f"item {place} has neither a type nor a role")
        torn = first_torn(items)
        if torn is not None:
            kind = items[torn].get("type")
            raise ValueError(
                f"item {torn} ({kind}) is torn from what it belongs to: each call needs its output, each output its "
                "call, and reasoning what it led to"
            )
        return items

    @model_validator(mode="after")
    def _something_to_read(self) -> SessionInput:
        """A session may begin with nothing: its messages come later."""
        return self


class TurnFailure(Payload):
    """Failure of one message: the type, text and facts with which a run would have failed."""

    type: str
    message: str
    facts: JsonObject | None = None


class TurnResult(Payload, Generic[Output]):
    """Result of one message.

    Attributes:
        output: The answer's text; for an agent with an `output_type` its JSON value, or the type itself where it was
            asked for. None where there is no answer, or where it is too old to be kept (`expired`).
        agent: Who has the conversation now.
        turns: Model replies that it took.
        usage: What it cost, nested agents included.
        failure: Why there is no answer.
        guardrails: What guardrails said: the latest 100.
        stopped: Why the turn was told to end, if it was: `output` is then what had been said by then.
        expired: The output is no longer kept by the message's id; the session's items and history have it.
    """

    output: SerializeAsAny[Output] = cast(Output, None)  # a null is left out on the wire
    agent: str
    turns: int = 0
    usage: Usage = Usage()
    failure: TurnFailure | None = None
    guardrails: list[GuardrailResult] = []
    stopped: str | None = None
    expired: bool | None = None


class TurnQuery(Payload):
    """The argument of the query `turn`."""

    message_id: Name


class TurnStatus(Payload):
    """The answer of the query `turn`.

    Attributes:
        result: Once it is answered or has failed.
        reason: Why it was refused.
        taken_back: It was taken back since, and is no part of the conversation any more.
    """

    message_id: str
    state: MessageState
    result: TurnResult | None = None
    reason: str | None = None
    taken_back: bool | None = None


class TakeBack(Payload):
    """The argument of the update `take_back`; none at all stands for the defaults.

    Attributes:
        message_id: The message, which must be the last one; None means whichever that is.
        by: Who takes it back: a claimed name.
    """

    message_id: Name | None = None
    by: Claimed | None = None


class TakenBack(Payload):
    """The messages that were taken back.

    Attributes:
        messages: Ids of the messages: the last one, with those that steered its turn.
        items: What they said, as the model read it.
    """

    messages: list[str]
    items: list[JsonObject]

    @property
    def text(self) -> str:
        """The words of it, for somebody who wants to say it otherwise."""
        contents = (item.get("content") for item in self.items)
        parts = [part for content in contents for part in (content if isinstance(content, list) else [content])]
        said = [part.get("text") if isinstance(part, dict) else part for part in parts]
        return "\n\n".join(each for each in said if isinstance(each, str))


class CloseSession(Payload):
    """The argument of the signal `close`; none at all stands for the defaults."""

    by: Claimed | None = None
    reason: Reason | None = None
