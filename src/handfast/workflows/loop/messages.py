"""Rules for messages: when one that was sent to a frame is checked, placed, or refused. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from handfast.payloads.usage import Usage
from handfast.workflows.frame.frame import Frame, Guard, Queued
from handfast.workflows.loop import limits


@dataclass(frozen=True)
class CheckMessage:
    """Ask an input guardrail about a message."""

    message: Queued
    guard: Guard


@dataclass(frozen=True)
class PlaceMessages:
    """Put the messages that wait before the next model call."""


@dataclass(frozen=True)
class RefuseMessages:
    """Refuse the messages that wait, as no model call is to come."""

    reason: str
    why: str


def next_checks(frame: Frame) -> list[CheckMessage]:
    """The guardrails to ask about messages: those of one message in turn, different messages side by side.

    Which there are is known from the first model call on.
    """
    if not frame.guards_known or frame.stop is not None:
        return []
    checks: list[CheckMessage] = []
    for message in frame.queue:
        if message.guards is None:
            message.guards = [
                Guard(name=guard.name, agent=guard.agent, kind="input")
                for guard in frame.guards
                if guard.kind == "input"
            ]
        guard = next((guard for guard in message.guards if guard.state != "done"), None)
        if guard is not None and guard.state == "waiting":
            checks.append(CheckMessage(message, guard))
    return checks


def hold_model(frame: Frame) -> bool:
    """Return whether the next model call waits for a message that is being checked."""
    return frame.guards_known and not all(message.checked for message in frame.queue)


def next_placed(frame: Frame) -> list[PlaceMessages]:
    """Return the steps before a model call that may be made.

    Before the first one it is not known yet which guardrails there are: it is given the messages beside the
    transcript, and where it answers with guardrails instead, they come first.
    """
    read = frame.underway is None  # what is being answered already is not added to
    return [PlaceMessages()] if frame.queue and frame.guards_known and read else []


def at_end(frame: Frame, spent: Usage) -> list[RefuseMessages]:
    """Say what becomes of messages that wait while the frame is about to end; reopens it for one that it may answer.

    Args:
        frame: The loop, in the phase *checking*.
        spent: What it and everything below it have spent.
    """
    refusal = no_call_to_come(frame, spent)
    if refusal is not None:
        return [refusal]
    if hold_model(frame) or any(guard.kind != "input" and guard.state == "running" for guard in frame.guards):
        return []  # what has an answer already is not asked again for a message that nobody may read
    frame.guards = [guard for guard in frame.guards if guard.kind == "input"]
    frame.output, frame.answer, frame.answer_structured, frame.answered_by = None, None, None, []
    frame.invalid_outputs = 0
    frame.phase = "model"
    return []


def no_call_to_come(frame: Frame, spent: Usage) -> RefuseMessages | None:
    """Return why a frame that has its output makes no further model call for a message; None where it makes one."""
    if frame.stop is not None:
        return RefuseMessages("stopped", "the run was told to stop")
    if frame.on_message == "refuse":
        return RefuseMessages("no_turn", "the run has its answer, and opens no further turn for a message")
    limit = limits.reached(frame, spent)
    if limit is not None:
        left = {"time": "time is", "cost": "money is"}.get(limit.what, f"{limit.what} are")
        return RefuseMessages("no_turn", f"the run has its answer, and no {left} left for a further one")
    return None
