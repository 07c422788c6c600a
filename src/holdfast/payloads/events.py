"""What happens in a run, as typed events that are computed from its history.

Every event has an `offset`, the place in the run's chain of histories after which a reader goes on, and `at`, the time
at which the server recorded it. What belongs to an agent's loop names it: `frame` (its id), `agent`, `agent_path` from
the run's agent down, and `turn`, the reply that it belongs to.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from holdfast.errors import PayloadInvalidError
from holdfast.payloads.artifacts import Artifact
from holdfast.payloads.base import Instant, Payload, problems_of
from holdfast.payloads.guardrails import GuardrailKind, GuardrailOutcome
from holdfast.payloads.json_profile import JsonObject, JsonValue
from holdfast.payloads.remember import Remember
from holdfast.payloads.requests import DeadlineDefault, Request, RequestKind
from holdfast.payloads.runs import RunPhase
from holdfast.payloads.signed import SignedBy
from holdfast.payloads.usage import Usage

Ended = Literal["completed", "failed", "cancelled"]
LoopEnded = Literal["completed", "failed", "cancelled", "ended"]
"""*ended*: the history does not show how."""


class _Event(Payload):
    offset: str
    at: Instant


class _InFrame(_Event):
    frame: str
    agent: str
    agent_path: list[str] = []
    turn: int = 0


class _OfCall(_InFrame):
    call_id: str
    tool: str


class _OfRequest(_Event):
    """What the ledger says of one request, with what is known of it: none of that, where the memo never showed it.

    `by` is a claimed name, unless `signed_by` says which key vouches for it.
    """

    request: str | None = None
    kind: RequestKind | None = None
    frame: str | None = None
    agent: str | None = None
    agent_path: list[str] | None = None
    turn: int | None = None
    call_id: str | None = None
    tool: str | None = None
    by: str | None = None
    signed_by: SignedBy | None = None
    verdict: str | None = None
    why: str | None = None


# --- the run and its turns ---


class RunStarted(_InFrame):
    """An agent was started.

    Attributes:
        input: What it was given; None in a workflow of your own, whose code gives it.
        workflow: Type of the workflow.
    """

    type: Literal["run_started"] = "run_started"
    input: str | list[JsonObject] | None = None
    labels: dict[str, str] = {}
    requested_by: str | None = None
    workflow: str


class TurnStarted(_InFrame):
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


class ModelReplied(_InFrame):
    """The model replied.

    Attributes:
        text: What it says; "" where it only makes calls.
        refusal: What it refuses with.
        items: The reply as the Responses API gave it.
        block: Id of the transcript's block.
        model: Name of the model that was asked.
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


class ModelFailed(_InFrame):
    """A model call ended without a reply that counts; the run may ask again.

    Attributes:
        failure: Type of the failure, as in `RunFailedError.kind`. *Cancelled*: it was stopped. *Interrupted*: a message
            came before its reply, which may have been told: the model is asked again, with the message.
    """

    type: Literal["model_failed"] = "model_failed"
    failure: str
    message: str


class Compacted(_InFrame):
    """The start of the loop's conversation was made short, or could not be.

    Attributes:
        block: Id of the block that stands in for it; None where nothing was changed.
        why: What went wrong then, if anything did.
    """

    type: Literal["compacted"] = "compacted"
    block: str | None = None
    why: str | None = None


class HandedOver(_InFrame):
    """Another agent goes on with the loop; `agent` handed over to `to`."""

    type: Literal["handoff"] = "handoff"
    to: str
    call_id: str | None = None
    tool: str | None = None


class RunFinished(_InFrame):
    """An agent has ended: the last event of a run, and one of several in a workflow of your own.

    A message that arrives together with an agent's last reply lets it go on; in a workflow of your own such an agent
    may end a second time.

    Attributes:
        status: *ended* in a workflow of your own only: the history does not show how.
        output: What it answered.
        failure: Type of what ended it: ``StartInvalid``, ``MaxTurnsExceeded``, ``Terminated``, ``TimedOut``, …
        message: Its text, or why it was cancelled.
        facts: More about it: which guardrail, say; or ``may_have_happened``, the calls of which that was told.
        usage: Of the run and everything below it, where its end says so.
        stopped: Why it was told to end after a turn, if it was.
    """

    type: Literal["run_finished"] = "run_finished"
    status: LoopEnded
    output: JsonValue = None
    failure: str | None = None
    message: str | None = None
    facts: JsonObject | None = None
    usage: Usage | None = None
    stopped: str | None = None


class WorkflowFinished(_Event):
    """A workflow other than `AgentRun` has ended, and all agents in it: the last event. Fields as in `RunFinished`."""

    type: Literal["workflow_finished"] = "workflow_finished"
    status: Ended
    failure: str | None = None
    message: str | None = None


class Continued(_Event):
    """The run goes on in another history. Readers of a run do not see it.

    Attributes:
        run_id: Temporal's id of that history.
    """

    type: Literal["continued"] = "continued"
    run_id: str


class StatusChanged(_Event):
    """The run waits for a person, or does not any more; *idle* where no agent of it has anything to do."""

    type: Literal["status"] = "status"
    status: RunPhase
    pending: int


# --- calls ---


class ToolCalled(_OfCall):
    """A call was started.

    Attributes:
        arguments: None where they stand in the transcript alone: a person's own above 16 KB.
        start: 1, and more where it is started again as it had not begun, or somebody said so.
        request: The request that released it.
    """

    type: Literal["tool_called"] = "tool_called"
    arguments: JsonObject | None = None
    start: int = 1
    request: str | None = None


class ToolOutput(_OfCall):
    """A call has its output: it ran to its end, or a person gave it.

    Attributes:
        output: For the model: a text, or content parts.
        bytes: Its size before it was cut.
        artifact: Where the whole of it is kept.
        by: Who gave it, where it did not come from the tool.
    """

    type: Literal["tool_output"] = "tool_output"
    output: JsonValue = None
    bytes: int | None = None
    artifact: Artifact | None = None
    by: str | None = None


class ToolFailed(_OfCall):
    """A start of a call failed.

    Attributes:
        why: *error*: the tool said so, or raised. *timeout*: it took too long. *not_begun*: its body was never entered;
            it is started again, or a person is asked. *unknown*: it may or may not have taken effect; an *in_doubt* or
            a request follows. *refused*: what would have run is not what was approved.
        output: For the model, where it reads one.
        message: What is known beyond it.
    """

    type: Literal["tool_failed"] = "tool_failed"
    why: Literal["error", "timeout", "not_begun", "unknown", "refused", "unproven"]
    output: JsonValue = None
    message: str | None = None


class ToolCancelled(_OfCall):
    """A call was stopped on request, or never ran because of one."""

    type: Literal["tool_cancelled"] = "tool_cancelled"
    output: JsonValue = None


class ToolNotRun(_OfCall):
    """A call got an output without running.

    Attributes:
        why: *unknown*, *invalid*, *blocked*: as the reply's plan said. *rejected*: by `by`. *expired*: nobody decided.
            *ignored*: another handoff of the same reply took place. *changed*: each time it was approved, something had
            changed by then. *settled*: nothing in the history says more.
        output: What the model reads, where the history shows it.
    """

    type: Literal["tool_not_run"] = "tool_not_run"
    why: Literal["unknown", "invalid", "blocked", "rejected", "expired", "ignored", "changed", "settled"]
    output: JsonValue = None
    by: str | None = None


class CallCancelRequested(_Event):
    """Somebody wants one call to end."""

    type: Literal["call_cancel_requested"] = "call_cancel_requested"
    call_id: str
    by: str | None = None
    reason: str | None = None


class AgentStarted(_InFrame):
    """A nested loop began.

    Attributes:
        parent: The frame whose call it answers: `call_id` of `tool`.
    """

    type: Literal["agent_started"] = "agent_started"
    parent: str | None = None
    call_id: str | None = None
    tool: str | None = None


class AgentFinished(_InFrame):
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


class GuardrailSpoke(_InFrame):
    """A guardrail said something; one that lets a tool's call pass says nothing here.

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


# --- what waits for a person ---


class RequestOpened(_InFrame):
    """Something waits for a person: `request` says what. Opened and closed within one step, it has no such event."""

    type: Literal["request_opened"] = "request_opened"
    request: Request


class RequestVoted(_OfRequest):
    """A vote was counted, and the request waits for more."""

    type: Literal["request_voted"] = "request_voted"


class RequestEdited(_OfRequest):
    """A request was closed, as its arguments were changed: they are asked about anew.

    Attributes:
        arguments: Those that are asked about.
    """

    type: Literal["request_edited"] = "request_edited"
    arguments: JsonObject | None = None
    decision_id: str | None = None


class ApprovalVoided(_OfRequest):
    """An approval no longer held when its call was about to run: `why` says what had changed. It is asked for anew.

    With the verdict *give_up* it is not: that was often enough, and `tool_not_run` follows.
    """

    type: Literal["approval_voided"] = "approval_voided"


class RequestDecided(_OfRequest):
    """A person's decision closed a request.

    Attributes:
        why: Note or reason, up to 512 characters; or which remembered decision answered it.
        arguments: What a person put in place of the model's.
        output: What a person answered.
    """

    type: Literal["request_decided"] = "request_decided"
    arguments: JsonObject | None = None
    output: JsonValue = None
    decision_id: str | None = None
    remember: Remember | None = None


class RequestRefused(_OfRequest):
    """A decision, or another message, that came by signal was refused, and changed nothing: `why` says the reason."""

    type: Literal["request_refused"] = "request_refused"
    decision_id: str | None = None


class RequestReminded(_OfRequest):
    """A request still waits, and was brought to mind.

    Attributes:
        due: When that was to be.
    """

    type: Literal["request_reminded"] = "request_reminded"
    due: Instant | None = None


class RequestEscalated(_OfRequest):
    """Nobody has decided a request in time: others may, too.

    Attributes:
        due: When that was to be.
        approvers: Who may decide from now on, beside those who could before.
    """

    type: Literal["request_escalated"] = "request_escalated"
    due: Instant | None = None
    approvers: list[str] | None = None


class NotificationFailed(_OfRequest):
    """People could not be told of a request: `why` says which notification it was, and the reason."""

    type: Literal["notification_failed"] = "notification_failed"


class RequestExpired(_OfRequest):
    """A request passed its deadline.

    Attributes:
        on_deadline: What that means for it.
    """

    type: Literal["request_expired"] = "request_expired"
    on_deadline: DeadlineDefault | None = None


class RequestWithdrawn(_OfRequest):
    """Nobody has to decide a request any more: `why` says the reason."""

    type: Literal["request_withdrawn"] = "request_withdrawn"


class DecisionRemembered(_OfRequest):
    """An earlier decision answered a call, which was not asked about: `request` is the one that was decided then."""

    type: Literal["remembered"] = "remembered"
    remember: Remember | None = None


class InDoubt(_Event):
    """It is unknown whether a call took effect, and nobody is asked: `why` names call and reason."""

    type: Literal["in_doubt"] = "in_doubt"
    frame: str | None = None
    why: str


class EffectVerified(_Event):
    """The tool of a call in doubt was asked whether it took effect.

    Attributes:
        verdict: *ran*: it did, and its output follows. *run_again*: it did not, and is started again. None: nobody
            knows; an *in_doubt* or a request follows.
    """

    type: Literal["effect_verified"] = "effect_verified"
    verdict: Literal["ran", "run_again"] | None = None
    frame: str | None = None
    call_id: str | None = None
    why: str


class MayHaveHappened(_OfCall):
    """The run was ended from outside, and it is unknown whether this call took effect, or still will.

    Computed from the history alone, where a run was terminated or its own timeout passed. Calls that only read are not
    among them.

    Attributes:
        why: *running*: it had been started, and its end was never recorded; its worker may not even have taken it.
            *in_doubt*: a person was still asked about it.
        request: The request that is meant; or else the one that released the call.
    """

    type: Literal["may_have_happened"] = "may_have_happened"
    why: Literal["running", "in_doubt"]
    arguments: JsonObject | None = None
    request: str | None = None


class LimitsExtended(_Event):
    """A loop got more turns or tokens without having asked: `why` says how many."""

    type: Literal["limits_raised"] = "limits_raised"
    frame: str | None = None
    by: str | None = None
    why: str


# --- messages and orders ---


class MessageSent(_Event):
    """A message to the run was taken.

    Attributes:
        message: Its id.
        when: *next*: before the next model call. *now*: the model call under way is stopped first.
        input: What it says: a text, or items.
    """

    type: Literal["message_sent"] = "message_sent"
    message: str
    by: str | None = None
    when: str | None = None
    frame: str | None = None
    input: str | list[JsonObject] | None = None


class MessagePlaced(_Event):
    """A message stands before the next model call of the loop `frame`."""

    type: Literal["message_placed"] = "message_placed"
    message: str
    frame: str | None = None


class MessageRefused(_Event):
    """A message was refused, and changed nothing."""

    type: Literal["message_refused"] = "message_refused"
    message: str | None = None
    by: str | None = None
    why: str | None = None


class MessageAnswered(_Event):
    """The turn of a session's message has ended.

    Attributes:
        status: *failed*: without an answer; `why` says how.
        block: Id of the reply that answers it, as `ModelReplied.block` has it.
    """

    type: Literal["message_answered"] = "message_answered"
    message: str
    status: Literal["answered", "failed"]
    why: str | None = None
    frame: str | None = None
    block: str | None = None


class StopRequested(_Event):
    """The run was told to end after the turn under way."""

    type: Literal["stop_requested"] = "stop_requested"
    reason: str | None = None


class CancelRequested(_Event):
    """The run was told to end now."""

    type: Literal["cancel_requested"] = "cancel_requested"
    reason: str | None = None


class UnknownEvent(BaseModel):
    """An event of a type that this version does not know: written by a newer one. All its fields are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str
    offset: str
    at: Instant

    def to_wire(self) -> JsonObject:
        """Return plain JSON types, as they came."""
        wire: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        return wire


KnownEvent = (
    RunStarted
    | TurnStarted
    | ModelReplied
    | ModelFailed
    | Compacted
    | HandedOver
    | RunFinished
    | WorkflowFinished
    | Continued
    | StatusChanged
    | ToolCalled
    | ToolOutput
    | ToolFailed
    | ToolCancelled
    | ToolNotRun
    | CallCancelRequested
    | AgentStarted
    | AgentFinished
    | GuardrailSpoke
    | RequestOpened
    | RequestVoted
    | RequestEdited
    | ApprovalVoided
    | RequestDecided
    | RequestRefused
    | RequestReminded
    | RequestEscalated
    | NotificationFailed
    | RequestExpired
    | RequestWithdrawn
    | DecisionRemembered
    | InDoubt
    | EffectVerified
    | MayHaveHappened
    | LimitsExtended
    | MessageSent
    | MessagePlaced
    | MessageRefused
    | MessageAnswered
    | StopRequested
    | CancelRequested
)
RunEvent = KnownEvent | UnknownEvent
"""One thing that happened in a run."""
_KNOWN: Final[TypeAdapter[KnownEvent]] = TypeAdapter(Annotated[KnownEvent, Field(discriminator="type")])
EVENT_TYPES: Final[dict[str, type[Payload]]] = {each.model_fields["type"].default: each for each in KnownEvent.__args__}
"""Every event's class by its `type`."""


def read_event(value: object) -> RunEvent:
    """Read an event that was written with `to_wire`.

    Raises:
        PayloadInvalidError: It is none.
    """
    known = isinstance(value, dict) and value.get("type") in EVENT_TYPES
    try:
        return _KNOWN.validate_python(value) if known else UnknownEvent.model_validate(value)
    except ValidationError as error:
        raise PayloadInvalidError("event", problems_of(error)) from None
