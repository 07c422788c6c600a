"""Typed events of a run, computed from its history.

Every event has an `offset`, the place in the run's chain of histories after which a reader goes on, and `at`, the time
at which the server recorded it. What belongs to an agent's loop names it: `frame` (its id), `agent`, `agent_path` from
the run's agent down, and `turn`, the reply that it belongs to.
"""

from __future__ import annotations

from handfast.payloads.events.base import LoopEnded
from handfast.payloads.events.calls import (
    CallCancelRequested,
    EffectVerified,
    InDoubt,
    MayHaveHappened,
    ToolCalled,
    ToolCancelled,
    ToolFailed,
    ToolNotRun,
    ToolOutput,
)
from handfast.payloads.events.loops import (
    AgentFinished,
    AgentStarted,
    Compacted,
    GuardrailSpoke,
    HandedOver,
    ModelFailed,
    ModelReplied,
    ReplyCall,
    TurnStarted,
)
from handfast.payloads.events.messages import (
    MessageAnswered,
    MessagePlaced,
    MessageRefused,
    MessageSent,
    MessageTakenBack,
)
from handfast.payloads.events.reading import (
    EVENT_TYPES,
    KnownEvent,
    RunEvent,
    UnknownEvent,
    read_event,
)
from handfast.payloads.events.requests import (
    ApprovalVoided,
    DecisionRemembered,
    DecisionRepeated,
    NotificationFailed,
    RequestDecided,
    RequestEdited,
    RequestEscalated,
    RequestExpired,
    RequestOpened,
    RequestRefused,
    RequestReminded,
    RequestVoted,
    RequestWithdrawn,
)
from handfast.payloads.events.runs import (
    CancelRequested,
    Continued,
    LimitsExtended,
    RunFinished,
    RunStarted,
    StatusChanged,
    StopRequested,
    WorkflowFinished,
    WorkflowRetried,
)

__all__ = [
    "EVENT_TYPES",
    "AgentFinished",
    "AgentStarted",
    "ApprovalVoided",
    "CallCancelRequested",
    "CancelRequested",
    "Compacted",
    "Continued",
    "DecisionRemembered",
    "DecisionRepeated",
    "EffectVerified",
    "GuardrailSpoke",
    "HandedOver",
    "InDoubt",
    "KnownEvent",
    "LimitsExtended",
    "LoopEnded",
    "MayHaveHappened",
    "MessageAnswered",
    "MessagePlaced",
    "MessageRefused",
    "MessageSent",
    "MessageTakenBack",
    "ModelFailed",
    "ModelReplied",
    "NotificationFailed",
    "ReplyCall",
    "RequestDecided",
    "RequestEdited",
    "RequestEscalated",
    "RequestExpired",
    "RequestOpened",
    "RequestRefused",
    "RequestReminded",
    "RequestVoted",
    "RequestWithdrawn",
    "RunEvent",
    "RunFinished",
    "RunStarted",
    "StatusChanged",
    "StopRequested",
    "ToolCalled",
    "ToolCancelled",
    "ToolFailed",
    "ToolNotRun",
    "ToolOutput",
    "TurnStarted",
    "UnknownEvent",
    "WorkflowFinished",
    "WorkflowRetried",
    "read_event",
]
