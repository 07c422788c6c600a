"""Find the calls that may have taken effect in a run that was ended from outside."""

from __future__ import annotations

from collections.abc import Iterable

from handfast.history.events.loops import CallView, Emitter, LoopView
from handfast.history.events.starts import Asked
from handfast.payloads.events import MayHaveHappened
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.requests import Request

NEVER_BEGUN = frozenset({"not_begun", "not_registered"})
"""Endings of calls that certainly did not run."""


def tell_unknown(asked: Iterable[Asked], doubts: Iterable[tuple[Request, LoopView, CallView]], out: Emitter) -> None:
    """Add an event for each call whose effect is unknown.

    Args:
        asked: Activities whose end was not recorded.
        doubts: Requests about calls in doubt that were open, with their calls.
        out: Takes the events.
    """
    for each in asked:
        if each.call is not None and each.runs_call and each.effect != "read_only":
            call = each.call
            request = each.argument.get("request") if each.type != call.tool else None
            fields = {"arguments": call.arguments, "request": request if isinstance(request, str) else None}
            out.add(MayHaveHappened, **each.loop.fields_of(call), why="running", **fields)
    for doubt, loop, call in doubts:
        if (doubt.facts or {}).get("ended") not in NEVER_BEGUN:
            fields = {"arguments": doubt.arguments or call.arguments, "request": doubt.id}
            out.add(MayHaveHappened, **loop.fields_of(call), why="in_doubt", **fields)


def facts_of(out: Emitter) -> JsonObject | None:
    """Return the same calls as facts of the run's end; None where there are none."""
    calls = [fact_of(event) for event in out.events if isinstance(event, MayHaveHappened)]
    return {"may_have_happened": calls} if calls else None


def fact_of(event: MayHaveHappened) -> JsonObject:
    """Name the call, and say why its effect is unknown."""
    wire: JsonObject = event.model_dump(mode="json", exclude_none=True, exclude={"type", "offset", "at", "arguments"})
    return wire
