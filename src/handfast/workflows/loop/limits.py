"""Rules for limits: how many turns, tokens and seconds a frame may spend, and what follows then. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from handfast.payloads.requests import Grant, LimitKind, Request
from handfast.payloads.usage import Usage
from handfast.workflows.frame.frame import Failure, Frame, Reached
from handfast.workflows.ledger.entry import Entry


@dataclass(frozen=True)
class AskBudget:
    """Open the budget request of a frame that has nothing left."""

    reached: Reached


@dataclass(frozen=True)
class HandleLimit:
    """Let the agent's own function say what the run ends with."""

    reached: Reached


def reached(frame: Frame, below: Usage) -> Reached | None:
    """Say which limit forbids the next model call; None where it may be made.

    Args:
        frame: The loop.
        below: What it and everything below it have spent.
    """
    turns = frame.turn - frame.turns_before
    together = frame.spent_before.plus(below)
    each: tuple[tuple[LimitKind, float | Decimal, float | Decimal | None, bool], ...] = (
        ("turns", turns, turns_of(frame), False),
        ("tokens", below.total_tokens, tokens_of(frame), False),
        ("time", frame.worked_s, seconds_of(frame), False),
        ("cost", below.cost or Decimal(0), cost_of(frame), False),
        ("turns", frame.turn, frame.session_turns, True),
        ("tokens", together.total_tokens, frame.session_tokens, True),
        ("cost", together.cost or Decimal(0), frame.session_cost, True),
    )
    for what, used, limit, session in each:
        if limit is not None and used >= limit:
            return Reached(what=what, used=_counted(used), limit=_counted(limit), session=session)
    return None


def _counted(value: float | Decimal) -> int | Decimal:
    return value if isinstance(value, Decimal) else int(value)


def counts_usage(frame: Frame) -> bool:
    """Return whether a limit of the frame is one of tokens or money."""
    return frame.max_tokens is not None or frame.session_tokens is not None or counts_cost(frame)


def counts_cost(frame: Frame) -> bool:
    """Return whether a limit of the frame is one of money."""
    return frame.max_cost is not None or frame.session_cost is not None


def turns_of(frame: Frame) -> int | None:
    """Return how many model replies the frame may have, granted ones included; None is no limit."""
    return None if frame.max_turns is None else frame.max_turns + frame.granted_turns


def tokens_of(frame: Frame) -> int | None:
    """Return how many tokens the frame may spend, granted ones included; None is no limit."""
    return None if frame.max_tokens is None else frame.max_tokens + frame.granted_tokens


def cost_of(frame: Frame) -> Decimal | None:
    """Return how much money the frame may spend, granted money included; None is no limit."""
    return None if frame.max_cost is None else frame.max_cost + frame.granted_cost


def seconds_of(frame: Frame) -> float | None:
    """Return how long the frame may work, granted time included; None is no limit."""
    return None if frame.max_seconds is None else frame.max_seconds + frame.granted_seconds


def tick(frame: Frame, now: datetime, *, resting: bool) -> None:
    """Count the time since the last look as work, unless all of the frame waited for people.

    Args:
        frame: The loop.
        now: Workflow time.
        resting: From now on it waits for people, and does nothing else.
    """
    if frame.clock_at is not None and not frame.resting:
        frame.worked_s += (now - frame.clock_at).total_seconds()
    frame.clock_at, frame.resting = now, resting


def requests_left(frame: Frame, entries: Iterable[Entry]) -> int:
    """Return how many more requests may be opened for calls of the frame; below 0: any number."""
    if frame.max_open is None:
        return -1
    return max(frame.max_open - sum(entry.waits for entry in entries), 0)


def problem_of(pending: Sequence[Request], held: int) -> str | None:
    """Return why a run cannot go on without a person or a deploy, where that is more than that people are asked.

    Args:
        pending: Its open requests.
        held: How many calls wait for some of these to be decided.
    """
    in_doubt = next((request.reason for request in pending if request.kind == "in_doubt"), None)
    if in_doubt is not None or not held:
        return in_doubt
    return (
        f"{len(pending)} requests wait for a person, which is as many as may be open (max_open_requests); "
        f"{held} more calls are asked about as these are decided"
    )


def at_limit(frame: Frame, limit: Reached) -> list[AskBudget | HandleLimit]:
    """Say what follows: a person is asked, the agent's function ends the run, or it fails."""
    if frame.on_limit == "ask" and not frame.limit_refused:
        return [AskBudget(limit)]
    if limit.what == "turns" and frame.handles_max_turns:
        return [HandleLimit(limit)]
    frame.failure = failure(frame, limit)
    return []


def failure(frame: Frame, limit: Reached, why: str = "") -> Failure:
    """Return the failure of a run at a limit, or of the turn of a message."""
    if limit.session:
        kind = {"turns": "MaxTurnsExceeded", "cost": "MaxCostExceeded"}.get(limit.what, "MaxTokensExceeded")
        used = f"has cost {limit.used:,}" if limit.what == "cost" else f"used {limit.used:,} {limit.what}"
        text = f"the session {used} of {limit.limit:,}"
        return Failure(type=kind, message=f"{text}; raise_limits(session=True) raises its budget{why}")
    if limit.what == "turns":
        text = f"{frame.agent} used its {limit.limit} turns without an answer; raise max_turns"
        return Failure(type="MaxTurnsExceeded", message=text + why)
    if limit.what == "time":
        text = f"{frame.agent} worked for {limit.used:,} s of {limit.limit:,} s without an answer; raise max_duration"
        return Failure(type="MaxDurationExceeded", message=text + why)
    if limit.what == "cost":
        text = f"{frame.agent} has cost {limit.used:,} of {limit.limit:,} without an answer; raise max_cost"
        return Failure(type="MaxCostExceeded", message=text + why)
    text = f"{frame.agent} used {limit.used:,} tokens of {limit.limit:,} without an answer; raise max_tokens"
    return Failure(type="MaxTokensExceeded", message=text + why)


def apply_decision(frame: Frame, entry: Entry) -> None:
    """Take a closed budget request over into its frame, which then goes on where it stopped."""
    if entry.waits:
        return
    if isinstance(entry.verdict, Grant):
        grant(frame, entry.verdict, session=bool((entry.request.facts or {}).get("session")))
    else:
        frame.limit_refused = True
    frame.phase = "model"


def grant(frame: Frame, more: Grant, *, session: bool = False) -> None:
    """Raise what a frame may spend, for the message under way or for the whole session."""
    if session:
        frame.session_turns = None if frame.session_turns is None else frame.session_turns + (more.turns or 0)
        frame.session_tokens = None if frame.session_tokens is None else frame.session_tokens + (more.tokens or 0)
        frame.session_cost = None if frame.session_cost is None else frame.session_cost + (more.cost or 0)
        return
    frame.granted_turns += more.turns or 0
    frame.granted_tokens += more.tokens or 0
    frame.granted_seconds += more.seconds or 0
    frame.granted_cost += more.cost or 0
