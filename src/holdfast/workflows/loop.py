"""What one frame does next: a function of the frame and the ledger, without clock, network or Temporal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from holdfast.payloads.json_profile import JsonObject, JsonValue
from holdfast.payloads.requests import (
    DEFAULT_REJECTION,
    Answer,
    Approve,
    GiveUp,
    Ran,
    Reject,
    RunAgain,
)
from holdfast.workflows import limits
from holdfast.workflows.content_parts import is_part
from holdfast.workflows.frames import Call, Failure, Frame
from holdfast.workflows.ledger import Entry
from holdfast.workflows.limits import AskBudget, HandleLimit

MISSING_PATIENCE: Final = timedelta(minutes=2)
"""How long a call waits for a worker that has its tool, before a person is told."""
MOST_STARTS: Final = 5
"""How often a call that never began is scheduled before a person is told."""
MOST_BROKEN_REPLIES: Final = 3
"""How many replies in a row may be empty or none at all."""
BACKOFF: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between starts; the last one repeats."""

MISSING_PAUSE: Final = (timedelta(seconds=1), timedelta(seconds=15))
"""Shortest and longest pause between two tries to find a worker that has the agent or tool."""

OUTCOME_UNKNOWN: Final = (
    "The outcome of this call is unknown: it may or may not have taken effect. "
    "Do not assume either; find out before you repeat it."
)
NOT_RUN: Final = "This call could not be started. It did not run."
CANCELLED: Final = "This call was cancelled before it finished."


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
class Settle:
    """Give a call its output without running it."""

    call: Call
    output: JsonValue


@dataclass(frozen=True)
class FinishTurn:
    """Every call has its output: append them in the model's order."""


Step = CallModel | StartTool | AskPerson | WordRejection | Settle | FinishTurn | AskBudget | HandleLimit


def next_steps(frame: Frame, entries: Mapping[str, Entry], now: datetime, tokens: int) -> list[Step]:
    """Say what is missing in *frame*; an empty list means: wait.

    Args:
        frame: The loop; decisions that closed its requests are taken over into it.
        entries: The ledger's book.
        now: Workflow time, for backoffs.
        tokens: What the frame and everything below it have spent.
    """
    if _over(frame):
        return []
    _leave_missing(frame, entries, now)
    if frame.phase == "model":
        limit = limits.reached(frame, tokens)
        return [CallModel()] if limit is None else list(limits.at_limit(frame, limit))
    if frame.phase != "calls":
        return []
    steps: list[Step] = []
    for call in frame.calls:
        step = _step_of(frame, call, entries, now)
        if _over(frame):
            return []
        if step is not None:
            steps.append(step)
    if all(call.state == "settled" for call in frame.calls):
        return [FinishTurn()]
    return steps


def _over(frame: Frame) -> bool:
    return frame.failure is not None or frame.phase == "finished"


def _step_of(frame: Frame, call: Call, entries: Mapping[str, Entry], now: datetime) -> Step | None:
    if call.state == "planned":
        match call.plan.kind:
            case "run":
                call.state = "ready"
            case "ask":
                return AskPerson(call)
            case _:
                return Settle(call, call.plan.text or "This call could not be run.")
    if call.state == "backoff" and call.resume_at is not None and now >= call.resume_at:
        call.state = "ready"
    if call.state == "asking" and call.request is not None:
        return _decided(frame, call, entries[call.request])
    return StartTool(call) if call.state == "ready" else None


def _decided(frame: Frame, call: Call, entry: Entry) -> Step | None:
    """Take a closed request over into its call."""
    if entry.state in ("open", "checking"):
        return None
    if entry.state == "withdrawn":
        return Settle(call, CANCELLED)
    if entry.state == "expired" and entry.request.on_deadline == "fail":
        frame.failure = Failure(type="DeadlineExpired", message=f"nobody decided on {call.tool} before its deadline")
        return None
    match entry.verdict:
        case Approve(arguments=arguments):
            call.released_by, call.digest, call.arguments = entry.request.id, entry.digest, arguments
            call.state = "ready"
            return StartTool(call)
        case Reject(reason=None):
            if call.plan.worded:
                return WordRejection(call, entry.closed_by)
            return Settle(call, DEFAULT_REJECTION)
        case Reject(reason=reason):
            return Settle(call, reason)
        case Answer(output=output) | Ran(output=output):
            return Settle(call, as_output(output))
        case RunAgain():
            call.state, call.starts, call.missing_since = "ready", 0, None
            return StartTool(call)
        case GiveUp():
            ended = (entry.request.facts or {}).get("ended")
            return Settle(call, NOT_RUN if ended in ("not_registered", "not_begun") else OUTCOME_UNKNOWN)
    raise AssertionError(f"{entry.request.id} closed without a verdict")


def _leave_missing(frame: Frame, entries: Mapping[str, Entry], now: datetime) -> None:
    if frame.phase == "backoff" and frame.resume_at is not None and now >= frame.resume_at:
        frame.phase = "model"
    if frame.phase == "budget" and frame.request is not None:
        limits.take_decision(frame, entries[frame.request])
    if frame.phase == "stuck" and frame.request is not None:
        entry = entries[frame.request]
        if isinstance(entry.verdict, RunAgain):
            frame.phase, frame.missing_since = "model", None
        elif entry.state not in ("open", "checking"):
            frame.failure = Failure(
                type="AgentMissing",
                message=f"no worker has the agent {frame.agent}; deploy it and start again",
            )


def pause_of_missing(since: datetime, now: datetime) -> timedelta:
    """How long to wait for a worker that has the agent or tool: as long again as it has been missing."""
    shortest, longest = MISSING_PAUSE
    return min(max(now - since, shortest), longest)


def delay_of(start: int) -> timedelta:
    """How long to wait before start number *start* (from 0)."""
    return timedelta(seconds=BACKOFF[min(start, len(BACKOFF) - 1)])


def text_of_reply(items: list[JsonObject]) -> str:
    """The text that a reply says, all its message parts joined."""
    return "".join(
        str(part.get("text", ""))
        for item in items
        if item.get("type") == "message" and isinstance(item.get("content"), list)
        for part in item["content"]
        if isinstance(part, dict) and part.get("type") == "output_text"
    )


def as_output(value: JsonValue) -> JsonValue:
    """Shape what a person answered as the model reads it: a text or content parts stay, other JSON becomes text."""
    parts = isinstance(value, list) and bool(value) and all(is_part(part) for part in value)
    return value if isinstance(value, str) or parts else json.dumps(value, ensure_ascii=False)


def wake_at(frame: Frame) -> datetime | None:
    """When the frame has to be looked at again although nothing happened."""
    times = [call.resume_at for call in frame.calls if call.state == "backoff" and call.resume_at]
    if frame.phase == "backoff" and frame.resume_at:
        times.append(frame.resume_at)
    return min(times, default=None)
