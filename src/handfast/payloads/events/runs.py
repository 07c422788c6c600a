"""Events of a whole run: start, messages to it, waiting, continuation, end."""

from __future__ import annotations

from typing import Literal

from handfast.payloads.events.base import Event, InFrame, LoopEnded
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.runs import RunPhase
from handfast.payloads.usage import Usage

Ended = Literal["completed", "failed", "cancelled"]


class RunStarted(InFrame):
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


class RunFinished(InFrame):
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


class WorkflowFinished(Event):
    """A workflow other than `AgentRun` has ended, and all agents in it: the last event. Fields as in `RunFinished`."""

    type: Literal["workflow_finished"] = "workflow_finished"
    status: Ended
    failure: str | None = None
    message: str | None = None


class WorkflowRetried(Event):
    """A workflow other than `AgentRun` has failed, and its retry policy begins it again: so do all agents in it, and
    what they had asked waits for nobody any more."""

    type: Literal["workflow_retried"] = "workflow_retried"
    failure: str | None = None
    message: str | None = None


class Continued(Event):
    """The run goes on in another history. Readers of a run do not see it.

    Attributes:
        run_id: Temporal's id of that history.
    """

    type: Literal["continued"] = "continued"
    run_id: str


class StatusChanged(Event):
    """The run waits for a person, or does not any more; *idle* where no agent of it has anything to do."""

    type: Literal["status"] = "status"
    status: RunPhase
    pending: int


class LimitsExtended(Event):
    """A loop got more turns or tokens without having asked: `why` says how many."""

    type: Literal["limits_raised"] = "limits_raised"
    frame: str | None = None
    by: str | None = None
    why: str


class StopRequested(Event):
    """The run was told to end after the turn under way."""

    type: Literal["stop_requested"] = "stop_requested"
    reason: str | None = None


class CancelRequested(Event):
    """The run was told to end now."""

    type: Literal["cancel_requested"] = "cancel_requested"
    reason: str | None = None


LifecycleEvent = (
    RunStarted
    | RunFinished
    | WorkflowFinished
    | WorkflowRetried
    | Continued
    | StatusChanged
    | LimitsExtended
    | StopRequested
    | CancelRequested
)


class MessageSent(Event):
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


class MessagePlaced(Event):
    """A message stands before the next model call of the loop `frame`."""

    type: Literal["message_placed"] = "message_placed"
    message: str
    frame: str | None = None


class MessageRefused(Event):
    """A message was refused, and changed nothing."""

    type: Literal["message_refused"] = "message_refused"
    message: str | None = None
    by: str | None = None
    why: str | None = None


class MessageAnswered(Event):
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


class MessageTakenBack(Event):
    """A message of a session was taken back after its turn: it, and what was said on it, left the conversation."""

    type: Literal["message_taken_back"] = "message_taken_back"
    message: str
    by: str | None = None
    frame: str | None = None


MessageEvent = MessageSent | MessagePlaced | MessageRefused | MessageAnswered | MessageTakenBack
