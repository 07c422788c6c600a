"""The next steps of one frame: a function of the frame and the ledger, without clock, network or Temporal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from handfast.payloads.requests import RunAgain
from handfast.payloads.usage import Usage
from handfast.workflows.frame.frame import Call, Failure, Frame
from handfast.workflows.ledger.entry import Entry
from handfast.workflows.loop import guardrails, limits, messages
from handfast.workflows.loop.steps import (
    AskPerson,
    Begin,
    CallModel,
    CompactHistory,
    FilterHistory,
    FinishTurn,
    HandOver,
    SetOutput,
    StartAgent,
    StartTool,
    Step,
    Stop,
)
from handfast.workflows.loop.verdicts import apply_verdict, cancelled_text

MISSING_PATIENCE: Final = timedelta(minutes=2)
"""Longest wait of a call for a worker that has its tool, before a person is told."""
HELD_PATIENCE: Final = timedelta(seconds=10)
"""Longest wait of a call for the worker in whose session its MCP server has asked: it mostly has the run as well."""
MOST_STARTS: Final = 5
"""Most times that a call which never began is scheduled before a person is told."""
MOST_BROKEN_REPLIES: Final = 3
"""Most replies in a row that are empty or none at all."""
BACKOFF: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between starts; the last one repeats."""

HANDOFF_IGNORED: Final = "This handoff was ignored: another one of the same reply took place."
MISSING_PAUSE: Final = (timedelta(seconds=0.25), timedelta(seconds=15))
"""Shortest and longest pause between two tries to find a worker that has the agent or tool. The task queue gives each
try to any worker, so where one of two has it, nine tries in the first ten seconds miss it once in 500 times."""


def next_steps(frame: Frame, entries: Mapping[str, Entry], now: datetime, spent: Usage) -> list[Step]:
    """Say what is missing in *frame*; an empty list means: wait.

    Args:
        frame: The loop; decisions that closed its requests are taken over into it.
        entries: The ledger's book.
        now: Workflow time, for backoffs.
        tokens: What the frame and everything below it have spent.
    """
    frame.held = 0
    if _over(frame):
        return []
    started: list[Step] = [*guardrails.next_guards(frame), *messages.next_checks(frame)]
    if started or guardrails.hold_model(frame):
        return started
    _leave_missing(frame, entries, now)
    if frame.phase == "checking" and frame.has_to_answer and (refused := messages.at_end(frame, spent)):
        return list(refused)
    if frame.phase == "model":
        return _before_model(frame, spent)
    if frame.phase == "filter":
        return [FilterHistory()]
    guardrails.finish_if_checked(frame)
    return [] if frame.phase != "calls" else _of_calls(frame, entries, now)


def _of_calls(frame: Frame, entries: Mapping[str, Entry], now: datetime) -> list[Step]:
    """Return the steps of the turn's calls: as many begin, and are asked about, as there is room for."""
    steps: list[Step] = []
    slots, room = _slots(frame), limits.requests_left(frame, entries.values())
    for call in _next_calls(frame):
        step = _step_of(frame, call, entries, now)
        if _over(frame):
            return []
        begins = isinstance(step, Begin)
        if (begins and slots == 0) or (_has_effect(step) and guardrails.hold_call(frame, call)):
            continue
        if isinstance(step, AskPerson):
            if room == 0:
                frame.held += 1
                continue
            room -= 1
        slots -= begins
        if step is not None:
            steps.append(step)
    if all(call.state == "settled" for call in frame.calls):
        return [FinishTurn()]
    return steps


def _before_model(frame: Frame, spent: Usage) -> list[Step]:
    if frame.stop is not None:
        return [Stop()]
    limit = limits.reached(frame, spent)
    if limit is not None:
        return list(limits.at_limit(frame, limit))
    if messages.hold_model(frame):
        return []
    if frame.compact:
        return [CompactHistory()]
    return list(messages.next_placed(frame)) or [CallModel()]


def _slots(frame: Frame) -> int:
    """Return how many more calls of the frame may run beside those that do; below 0: any number."""
    if frame.max_parallel is None:
        return -1
    return max(frame.max_parallel - sum(call.state == "running" for call in frame.calls), 0)


def _has_effect(step: Step | None) -> bool:
    """Return whether something runs after *step*: a call here, or one of the provider's own, which gets its yes."""
    return isinstance(step, Begin) or (isinstance(step, SetOutput) and step.output is True)


def _over(frame: Frame) -> bool:
    return frame.failure is not None or frame.phase == "finished"


def _next_calls(frame: Frame) -> list[Call]:
    """The calls that may move: all but handoffs, then the handoffs one by one, until one has won."""
    handoffs = [call for call in frame.calls if call.plan.kind == "handoff"]
    others = [call for call in frame.calls if call.plan.kind != "handoff" and call.state != "settled"]
    if others or not handoffs:
        return others
    return [call for call in handoffs if call.state != "settled"][: None if frame.handoff else 1]


def _step_of(frame: Frame, call: Call, entries: Mapping[str, Entry], now: datetime) -> Step | None:
    if call.cancelling is not None and call.state in ("planned", "ready", "backoff", "asked"):
        return SetOutput(call, cancelled_text(call))
    if call.state == "planned":
        match call.plan.kind:
            case "handoff" if frame.handoff is not None:
                return SetOutput(call, HANDOFF_IGNORED)
            case "ask" | "question":
                return AskPerson(call)
            case "tripped":
                frame.failure = guardrail_tripped(call, call.plan.text)
                return None
            case "agent" | "handoff" if call.plan.approval is not None:
                return AskPerson(call)
            case "run" | "agent" | "handoff":
                call.state = "ready"
            case _:
                return SetOutput(call, "This call could not be run." if call.plan.text is None else call.plan.text)
    if call.state == "backoff" and call.resume_at is not None and now >= call.resume_at:
        call.state = "ready"
    if call.state == "asking" and call.request is not None:
        step = apply_verdict(frame, call, entries[call.request])
        if step is not None or frame.failure is not None:
            return step
    if call.state == "asked":
        return AskPerson(call)
    return _start(call) if call.state == "ready" else None


def _start(call: Call) -> Step:
    if call.cancelling is not None:  # cancelled after its approval came in, and before it could start
        return SetOutput(call, cancelled_text(call))
    if call.plan.hosted:
        return SetOutput(call, True)  # yes: the provider runs it, when it is asked next
    match call.plan.kind:
        case "agent":
            return StartAgent(call)
        case "handoff":
            return HandOver(call)
    return StartTool(call)


def _leave_missing(frame: Frame, entries: Mapping[str, Entry], now: datetime) -> None:
    if frame.phase == "backoff" and frame.resume_at is not None and now >= frame.resume_at:
        frame.phase = "model"
    if frame.phase == "budget" and frame.request is not None:
        limits.apply_decision(frame, entries[frame.request])
    if frame.phase == "stuck" and frame.request is not None:
        entry = entries[frame.request]
        if isinstance(entry.verdict, RunAgain):
            frame.phase, frame.missing_since = "model", None
        elif not entry.waits:
            frame.failure = Failure(
                type="AgentMissing",
                message=f"no worker has the agent {frame.agent}; deploy it and start again",
            )


def pause_of_missing(since: datetime, now: datetime) -> timedelta:
    """Return how long to wait for a worker that has the agent or tool: half as long again as it has been missing."""
    shortest, longest = MISSING_PAUSE
    return min(max((now - since) / 2, shortest), longest)


def guardrail_tripped(call: Call, reason: str | None) -> Failure:
    """Return the failure of a run whose guardrail stopped it."""
    return Failure(type="GuardrailTripped", message=f"{call.tool}: {reason or 'no reason given'}")


def delay_of(start: int) -> timedelta:
    """Return how long to wait before start number *start* (from 0)."""
    return timedelta(seconds=BACKOFF[min(start, len(BACKOFF) - 1)])


def wake_at(frame: Frame) -> datetime | None:
    """Return when the frame has to be looked at again although nothing happened."""
    times = [call.resume_at for call in frame.calls if call.state == "backoff" and call.resume_at]
    if frame.phase == "backoff" and frame.resume_at:
        times.append(frame.resume_at)
    return min(times, default=None)
