"""Put the facts of a call in doubt into words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from handfast.cli.output import json_text
from handfast.cli.tables import ago
from handfast.errors import PayloadInvalidError
from handfast.payloads.requests import Request
from handfast.payloads.tool_call import Attempt


def facts_of(request: Request, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield the facts of a request, each with its label: those of an attempt in words, others as JSON."""
    facts = dict(request.facts or {})
    if request.kind == "in_doubt" and "ended" in facts:
        ended, detail = facts.pop("ended"), facts.pop("detail", None)
        yield "ended", f"{ended}: {detail}" if detail else str(ended)
        if attempt := attempt_text(facts, now):
            yield "attempt", attempt
        facts = {name: value for name, value in facts.items() if name not in Attempt.model_fields}
    if facts:
        yield "known", json_text(facts)


def attempt_text(facts: dict[str, object], now: datetime) -> str:
    """Describe an attempt: its number, its worker, when it was last heard of; empty where nothing is known."""
    try:
        attempt = Attempt.from_wire(facts)
    except PayloadInvalidError:
        return ""  # of a later version
    said = [
        f"number {attempt.attempt}" if attempt.attempt is not None else None,
        f"on worker {attempt.worker}" if attempt.worker is not None else None,
        f"started {_at(attempt.started_at, now)}" if attempt.started_at is not None else None,
        f"last known alive {_at(attempt.alive_at, now)}" if attempt.alive_at is not None else None,
    ]
    return ", ".join(each for each in said if each is not None)


def _at(then: datetime, now: datetime) -> str:
    return f"{then:%Y-%m-%d %H:%M:%S} UTC ({ago(then, now)})"
