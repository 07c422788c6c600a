"""What a frame may still spend, turns and tokens, and what follows when nothing is left. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from holdfast.payloads.requests import Grant, LimitKind
from holdfast.payloads.usage import Usage
from holdfast.workflows.entry import Entry
from holdfast.workflows.frames import Failure, Frame


@dataclass(frozen=True)
class AskBudget:
    """Open the budget request of a frame that has nothing left."""

    reached: Reached


@dataclass(frozen=True)
class HandleLimit:
    """Let the agent's own function say what the run ends with."""

    reached: Reached


@dataclass(frozen=True)
class Reached:
    """A limit that a frame has reached.

    Attributes:
        used: Model replies, or tokens of the frame and of everything below it.
        limit: What was allowed, granted ones included.
    """

    what: LimitKind
    used: int
    limit: int


def reached(frame: Frame, tokens: int) -> Reached | None:
    """Say which limit forbids the next model call; None where it may be made.

    Args:
        frame: The loop.
        tokens: What it and everything below it have spent.
    """
    turns = frame.turn - frame.turns_before
    for what, used, limit in (("turns", turns, turns_of(frame)), ("tokens", tokens, tokens_of(frame))):
        if limit is not None and used >= limit:
            return Reached(what="turns" if what == "turns" else "tokens", used=used, limit=limit)
    return None


def turns_of(frame: Frame) -> int | None:
    """How many model replies the frame may have, granted ones included; None is no limit."""
    return None if frame.max_turns is None else frame.max_turns + frame.granted_turns


def tokens_of(frame: Frame) -> int | None:
    """How many tokens the frame may spend, granted ones included; None is no limit."""
    return None if frame.max_tokens is None else frame.max_tokens + frame.granted_tokens


def at_limit(frame: Frame, limit: Reached) -> list[AskBudget | HandleLimit]:
    """Say what follows: a person is asked, the agent's function ends the run, or it fails."""
    if frame.on_limit == "ask" and not frame.limit_refused:
        return [AskBudget(limit)]
    if limit.what == "turns" and frame.handles_max_turns:
        return [HandleLimit(limit)]
    frame.failure = failure(frame, limit)
    return []


def failure(frame: Frame, limit: Reached, why: str = "") -> Failure:
    """How a run ends at a limit."""
    if limit.what == "turns":
        text = f"{frame.agent} used its {limit.limit} turns without an answer; raise max_turns"
        return Failure(type="MaxTurnsExceeded", message=text + why)
    text = f"{frame.agent} used {limit.used:,} tokens of {limit.limit:,} without an answer; raise max_tokens"
    return Failure(type="MaxTokensExceeded", message=text + why)


def take_decision(frame: Frame, entry: Entry) -> None:
    """Take a closed budget request over into its frame, which then goes on where it stopped."""
    if entry.state in ("open", "checking"):
        return
    if isinstance(entry.verdict, Grant):
        grant(frame, entry.verdict)
    else:
        frame.limit_refused = True
    frame.phase = "model"


def grant(frame: Frame, more: Grant) -> None:
    """Raise what a frame may spend."""
    frame.granted_turns += more.turns or 0
    frame.granted_tokens += more.tokens or 0


def below(frames: Iterable[Frame], top: Frame) -> list[Frame]:
    """The frame and everything below it; *frames* in the order in which they were made."""
    found = {top.id: top}
    for frame in frames:
        if frame.parent in found:
            found[frame.id] = frame
    return list(found.values())


def sum_usage(frames: Iterable[Frame]) -> Usage:
    """What *frames* have spent together."""
    total = Usage()
    for frame in frames:
        total = total.plus(frame.usage).plus(frame.nested_usage)
    return total


def total_usage(frames: Sequence[Frame]) -> Usage:
    """The same, with what earlier messages have cost."""
    total = sum_usage(frames)
    for frame in frames:
        total = total.plus(frame.spent_before)
    return total
