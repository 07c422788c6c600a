"""Make tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from rich.table import Table
from rich.text import Text

from handfast.cli.output import json_text
from handfast.cli.terminal import cell
from handfast.client.lists import OpenRequest, RunInfo
from handfast.client.trouble import Trouble
from handfast.payloads.requests import Request, Scheduled
from handfast.payloads.runs import CallStatus

STYLES: Final = {
    "running": "cyan",
    "waiting": "yellow",
    "idle": "dim",
    "completed": "green",
    "failed": "red",
    "cancelled": "magenta",
}
SHORT_ID: Final = 8


def runs_table(found: Sequence[RunInfo], now: datetime) -> Table:
    """Make a table with one line per run."""
    table = _table("RUN", "AGENT", "STATUS", "WAITS", "LABELS", "STARTED", "DUE")
    for run in found:
        table.add_row(
            cell(run.id),
            cell(run.agent or run.workflow),
            status_text(run.status),
            cell(run.pending or ""),
            cell(" ".join(run.labels)),
            cell(ago(run.started_at, now)),
            cell(until(run.due, now) if run.due else ""),
        )
    return table


def attention_table(found: Sequence[Trouble], now: datetime) -> Table:
    """Make a table with one line per run that does not get on."""
    table = _table("RUN", "AGENT", "NEEDS ATTENTION", "SINCE", "ATTEMPT", "CAUSE", "MESSAGE")
    for trouble in found:
        table.add_row(
            cell(trouble.run, "bold"),
            cell(trouble.agent or trouble.workflow),
            cell(trouble.kind, "red"),
            cell(ago(trouble.since, now) if trouble.since else ""),
            cell(trouble.attempt or ""),
            cell(trouble.cause),
            cell(trouble.message),
        )
    return table


def requests_table(found: Sequence[OpenRequest], now: datetime) -> Table:
    """Make a table with one line per request, with ids as long as they have to be."""
    length = shortest_unique([each.request.id for each in found])
    reviewed = any(each.request.review is not None for each in found)
    headings = ["REQUEST", "RUN", "KIND", "AGENT", "TOOL", "ARGUMENTS", "APPROVERS", "ASKED", "DUE"]
    table = _table(*headings, *(["REVIEWER"] if reviewed else []))
    for each in found:
        request = each.request
        table.add_row(
            cell(request.id[:length], "bold"),
            cell(each.run),
            cell(request.kind),
            cell(request.agent),
            cell(request.tool or ""),
            arguments_text(request) if request.kind != "budget" else cell(request.reason or ""),
            cell(approvers_text(request)),
            cell(ago(request.requested_at, now)),
            cell(until(request.deadline, now) if request.deadline else ""),
            *([cell(_opinion(request))] if reviewed else []),
        )
    return table


def calls_table(calls: Sequence[CallStatus]) -> Table:
    """Make a table of the calls of the turn under way."""
    table = _table("CALL", "TOOL", "STATE")
    for call in calls:
        table.add_row(cell(call.call_id), cell(call.tool), cell(call.state))
    return table


def arguments_text(request: Request, *, indent: int | None = None) -> Text:
    """Show a request's arguments as far as they are known, and how much is missing."""
    if request.arguments is not None:
        shown = json_text(request.arguments, indent=indent)
        return Text(shown, overflow="fold") if indent else cell(shown)
    if request.arguments_preview is not None:
        return cell(f"{request.arguments_preview}… ({request.arguments_bytes} bytes in all)")
    return cell("")


def _opinion(request: Request) -> str:
    if request.review is None:
        return ""
    return "is asked" if request.review.is_under_way else f"{request.review.verdict or 'none'}: {request.review.left}"


def approvers_text(request: Request) -> str:
    """Name those who may decide, and say how many have; empty where anybody may, alone."""
    who = ", ".join(request.approvers or ())
    if request.quorum is not None:
        approved = sum(vote.verdict == "approve" for vote in request.votes or ())
        who = f"{who or 'anybody'} ({approved} of {request.quorum})"
    return f"{who} (escalated)" if request.escalated else who


def step_text(step: Scheduled, now: datetime) -> str:
    """Say when a reminder or an escalation is due, or since when it holds, and whom it adds."""
    when = until(step.at, now) if step.done_at is None else ago(step.done_at, now)
    return f"{when}, to {', '.join(step.approvers)}" if step.approvers else when


def status_text(status: str) -> Text:
    """Show a status in its colour."""
    return Text(status, style=STYLES.get(status, ""))


def shortest_unique(ids: Sequence[str]) -> int:
    """Count the characters that tell *ids* apart; eight at least."""
    longest = max(map(len, ids), default=SHORT_ID)
    for length in range(SHORT_ID, longest):
        if len({each[:length] for each in ids}) == len(set(ids)):
            return length
    return longest


def ago(then: datetime, now: datetime) -> str:
    """Say how long ago, in the largest unit."""
    seconds = max(int((now - then).total_seconds()), 0)
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name} ago"
    return f"{seconds} s ago"


def until(then: datetime, now: datetime) -> str:
    """Say how long until then, in the two largest units: rounded down, a deadline would seem nearer than it is."""
    seconds = (then - now).total_seconds()
    if seconds <= 0:
        return "passed"
    for (unit, name), (part, small) in pairwise(((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))):
        whole, rest = divmod(round(seconds / part), unit // part)
        if whole:
            return f"in {whole} {name} {rest} {small}" if rest else f"in {whole} {name}"
    return f"in {max(round(seconds), 1)} s"


def utc_now() -> datetime:
    """Read the clock of this machine."""
    return datetime.now(UTC)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=False)
    return table
