"""Steps that a frame's loop may ask its driver to take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from handfast.payloads.json_profile import JsonValue
from handfast.workflows.frame.frame import Call
from handfast.workflows.loop.guardrails import RunGuardrail
from handfast.workflows.loop.limits import AskBudget, HandleLimit
from handfast.workflows.loop.messages import CheckMessage, PlaceMessages, RefuseMessages


@dataclass(frozen=True)
class CallModel:
    """Ask the model for the next reply."""


@dataclass(frozen=True)
class StartTool:
    """Start the activity of a call."""

    call: Call


@dataclass(frozen=True)
class AskPerson:
    """Open the approval request of a call."""

    call: Call


@dataclass(frozen=True)
class WordRejection:
    """Let the agent word the output of a rejected call."""

    call: Call
    decided_by: str | None


@dataclass(frozen=True)
class SetOutput:
    """Give a call its output without running it."""

    call: Call
    output: JsonValue


@dataclass(frozen=True)
class FinishTurn:
    """Every call has its output: append them in the model's order."""


@dataclass(frozen=True)
class StartAgent:
    """Let the nested loop of a call run."""

    call: Call


@dataclass(frozen=True)
class HandOver:
    """Carry a handoff out: the last thing of its turn."""

    call: Call


@dataclass(frozen=True)
class FilterHistory:
    """Let the handoff's filter say what the next agent sees."""


@dataclass(frozen=True)
class CompactHistory:
    """Let the start of the conversation be made short."""


@dataclass(frozen=True)
class Stop:
    """End the loop with what it has said so far, as it was told to."""


AT_ONCE: Final = (SetOutput, AskPerson, AskBudget, FinishTurn, Stop, PlaceMessages, RefuseMessages)
"""Steps after which nothing is under way that was not before."""

Begin = StartTool | StartAgent | HandOver
"""Steps that start a call."""

Step = (
    Stop
    | CallModel
    | StartTool
    | StartAgent
    | AskPerson
    | WordRejection
    | SetOutput
    | HandOver
    | FilterHistory
    | CompactHistory
    | FinishTurn
    | AskBudget
    | HandleLimit
    | RunGuardrail
    | CheckMessage
    | PlaceMessages
    | RefuseMessages
)
