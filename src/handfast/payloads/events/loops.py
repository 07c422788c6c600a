"""Events of an agent's loop: turns, replies, guardrails, nested loops and handoffs."""

from __future__ import annotations

from typing import Literal

from handfast.payloads.base import Payload
from handfast.payloads.events.base import InFrame, LoopEnded
from handfast.payloads.guardrails import GuardrailKind, GuardrailOutcome
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.model_call import PassedOver
from handfast.payloads.usage import Usage


class TurnStarted(InFrame):
    """The model is asked for the reply number `turn`."""

    type: Literal["turn_started"] = "turn_started"


class ReplyCall(Payload):
    """A call that a reply makes.

    Attributes:
        plan: What follows: *run*, *ask*, *question*, *agent*, *handoff*, *unknown*, *invalid*, *blocked*, *tripped*.
        arguments: None where the model wrote no JSON object.
        agent: Whose loop it starts, or who goes on.
    """

    call_id: str
    tool: str
    plan: str
    arguments: JsonObject | None = None
    agent: str | None = None


class ModelReplied(InFrame):
    """The model replied.

    Attributes:
        text: What it says; "" where it only makes calls.
        refusal: What it refuses with.
        items: The reply as the Responses API gave it.
        block: Id of the transcript's block.
        model: Name of the model that was asked.
        left_out: What the request went without, as its server refuses it: paths of its fields.
        passed_over: The models of the agent's list that were unavailable, with the reason.
    """

    type: Literal["model_reply"] = "model_reply"
    text: str
    refusal: str | None = None
    calls: list[ReplyCall] = []
    items: list[JsonObject] = []
    usage: Usage = Usage()
    model: str | None = None
    block: str
    response_id: str | None = None
    left_out: list[str] = []
    passed_over: list[PassedOver] = []


class ModelFailed(InFrame):
    """A model call ended without a reply that counts; the run may ask again.

    Attributes:
        failure: Type of the failure, as in `RunFailedError.kind`. *Cancelled*: it was stopped. *Interrupted*: a message
            came before its reply, which may have been told: the model is asked again, with the message.
    """

    type: Literal["model_failed"] = "model_failed"
    failure: str
    message: str


class Compacted(InFrame):
    """The start of the loop's conversation was made short, or could not be.

    Attributes:
        block: Id of the block that stands in for it; None where nothing was changed.
        why: What went wrong then, if anything did.
    """

    type: Literal["compacted"] = "compacted"
    block: str | None = None
    why: str | None = None


class HandedOver(InFrame):
    """Another agent goes on with the loop; `agent` handed over to `to`."""

    type: Literal["handoff"] = "handoff"
    to: str
    call_id: str | None = None
    tool: str | None = None


class AgentStarted(InFrame):
    """A nested loop began.

    Attributes:
        parent: The frame whose call it answers: `call_id` of `tool`.
    """

    type: Literal["agent_started"] = "agent_started"
    parent: str | None = None
    call_id: str | None = None
    tool: str | None = None


class AgentFinished(InFrame):
    """A nested loop has ended. Fields as in `AgentStarted` and `RunFinished`.

    Attributes:
        status: *ended*: the history does not show how.
    """

    type: Literal["agent_finished"] = "agent_finished"
    status: LoopEnded
    parent: str | None = None
    call_id: str | None = None
    tool: str | None = None
    output: JsonValue = None
    failure: str | None = None
    message: str | None = None


class GuardrailSpoke(InFrame):
    """A guardrail gave its verdict; one that lets a tool's call pass has no event.

    Attributes:
        guardrail: Its name; None for those of a tool, which speak together.
        kind: What it looked at.
        outcome: As in `GuardrailResult`.
        call_id: The call, for a tool's.
    """

    type: Literal["guardrail"] = "guardrail"
    guardrail: str | None = None
    kind: GuardrailKind
    outcome: GuardrailOutcome
    reason: str | None = None
    info: JsonValue = None
    call_id: str | None = None
    tool: str | None = None


LoopEvent = (
    TurnStarted | ModelReplied | ModelFailed | Compacted | HandedOver | AgentStarted | AgentFinished | GuardrailSpoke
)
