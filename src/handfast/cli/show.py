"""Show one run in full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from handfast.cli import exits
from handfast.cli.event_lines import opinion_text, verified_text
from handfast.cli.options import Where
from handfast.cli.output import json_text, one_line, plain, visible, write_json
from handfast.cli.place import handfast, whole
from handfast.cli.tables import ago, approvers_text, arguments_text, calls_table, status_text, step_text, until, utc_now
from handfast.cli.terminal import cell, console
from handfast.client.client import Handfast
from handfast.client.run import Run
from handfast.client.trouble import Trouble, trouble_of
from handfast.errors import PayloadInvalidError, RunCancelledError, RunFailedError
from handfast.payloads.requests import Request
from handfast.payloads.review import Review
from handfast.payloads.runs import RunResult, RunStatus
from handfast.payloads.tool_call import Attempt


@dataclass(frozen=True)
class Shown:
    """A run, as `handfast show` prints it.

    Attributes:
        trouble: Why it does not get on, as far as the server can tell.
        needs_attention: The same in its parts.
        failure: The failure that ended it: a type and a text.
        cancelled: The reason that was given.
        may_have_happened: Calls of a run that was ended from outside, as `RunFailedError` has them.
    """

    id: str
    run_id: str
    workflow: str
    task_queue: str
    started_at: datetime
    ended_at: datetime | None
    status: RunStatus
    pending: list[Request]
    trouble: str | None = None
    needs_attention: Trouble | None = None
    result: RunResult | None = None
    failure: dict[str, str] | None = None
    cancelled: str | None = None
    may_have_happened: list[dict[str, Any]] | None = None


async def show(where: Where, run_id: str, *, as_json: bool) -> int:
    """Show one run.

    Raises:
        RunNotFoundError: There is no such run.
    """
    hf = await handfast(where)
    shown = await look(hf, run_id)
    if as_json:
        write_json({key: value for key, value in plain(shown).items() if value is not None})
    else:
        _print(console(), shown)
    return exits.OK


async def look(hf: Handfast, run_id: str) -> Shown:
    """Read everything that is known of a run.

    Raises:
        RunNotFoundError: There is no such run.
    """
    run = hf.run(run_id)
    pending = await run.pending()
    described = await hf.client.get_workflow_handle(run_id).describe()
    status = await run.status()
    facts: dict[str, Any] = {}
    if described.close_time is None:
        pending = await whole(hf.client, run_id, described.workflow_type, pending)
        with suppress(TimeoutError):  # without a worker their start has to do
            pending = [await run.in_full(each) if each.arguments_preview is not None else each for each in pending]
        facts["needs_attention"] = await trouble_of(hf.client, described, attempts=2)
        facts["trouble"] = status.problem or (str(facts["needs_attention"]) if facts["needs_attention"] else None)
    else:
        facts = await _ending(run, ours=described.workflow_type == "AgentRun")
    return Shown(
        id=run_id,
        run_id=described.run_id,
        workflow=described.workflow_type,
        task_queue=described.task_queue,
        started_at=described.start_time,
        ended_at=described.close_time,
        status=status,
        pending=pending,
        **facts,
    )


async def _ending(run: Run, *, ours: bool) -> dict[str, Any]:
    try:
        return {"result": await run.result()} if ours else {}
    except RunFailedError as error:
        unknown = [dict(call) for call in error.may_have_happened]
        return {"failure": {"type": error.kind, "message": error.message}, "may_have_happened": unknown or None}
    except RunCancelledError as error:
        return {"cancelled": error.reason}


def _print(out: Console, shown: Shown) -> None:
    now, status = utc_now(), shown.status
    usage = status.usage if shown.result is None else shown.result.usage
    turn = status.turn if shown.result is None else shown.result.turns
    _line(out, "run", cell(shown.id, "bold"))
    _line(out, "status", status_text(status.status))
    _line(out, "agent", cell(status.agent or (shown.result.agent if shown.result else "not known yet")))
    _line(out, "turn", cell(turn))
    _line(out, "tokens", cell(f"{usage.input_tokens} in, {usage.output_tokens} out, {usage.requests} model replies"))
    _line(out, "started", cell(ago(shown.started_at, now)))
    if shown.ended_at is not None:
        _line(out, "ended", cell(ago(shown.ended_at, now)))
    if shown.trouble is not None:
        _line(out, "trouble", cell(shown.trouble, "red"))
    if shown.failure is not None:
        _line(out, "failure", cell(f"{shown.failure['type']}: {shown.failure['message']}", "red"))
    for call in shown.may_have_happened or ():
        where = " > ".join(call.get("agent_path") or [str(call.get("agent"))])
        what = f"{call['tool']} {call['call_id']} of {where} may have happened ({call['why']})"
        _line(out, "in doubt", cell(what, "red"))
    if shown.cancelled is not None:
        _line(out, "cancelled", cell(shown.cancelled or "no reason given"))
    if status.calls and shown.ended_at is None:
        out.print()
        out.print(calls_table(status.calls))
    for request in shown.pending:
        out.print()
        print_request(out, request, now)
    if shown.result is not None:
        out.print()
        out.print(Text(answer_text(shown.result)))


def print_request(out: Console, request: Request, now: datetime) -> None:
    """Show a request with everything that a person needs to decide it."""
    _line(out, "waits", cell(f"{request.kind} {request.id}", "yellow"))
    _print_subject(out, request)
    _line(out, "  agent", cell(" > ".join(request.agent_path) or request.agent))
    _line(out, "  asked", cell(ago(request.requested_at, now)))
    if request.deadline is not None:
        _line(out, "  due", cell(f"{until(request.deadline, now)}, then {request.on_deadline}"))
    if approvers := approvers_text(request):
        _line(out, "  approvers", cell(approvers))
    _print_deciders(out, request, now)
    if request.reason and not request.of_server:
        _line(out, "  why", cell(request.reason))
    if request.facts and request.kind != "question":
        for label, known in facts_of(request, now):
            _line(out, f"  {label}", cell(known))
    _line(out, "  verdicts", cell(", ".join(request.verdicts)))


def _print_subject(out: Console, request: Request) -> None:
    question = question_of(request)
    if question is not None:
        _line(out, "  question", cell(question, "bold"))
        if takes_form(request):
            form = (request.facts or {}).get("schema")
            _line(out, "  form", Text(json_text(form, indent=2), overflow="fold") if form else cell("JSON; see `show`"))
        if isinstance(address := (request.facts or {}).get("url"), str):
            _line(out, "  visit", cell(address))
    if request.tool is not None and (question is None or request.of_server):
        _line(out, "  tool", cell(request.tool, "bold"))
        _line(out, "  arguments", arguments_text(request, indent=2))


def _print_deciders(out: Console, request: Request, now: datetime) -> None:
    for step in request.schedule or ():
        _line(out, f"  {'reminder' if step.what == 'remind' else 'escalation'}", cell(step_text(step, now)))
    for vote in request.votes or ():
        who = f"{vote.by} {verified_text(vote.signed_by)}".rstrip()
        _line(out, "  vote", cell(f"{vote.verdict} by {who}, {ago(vote.at, now)}"))
    if request.review is not None:
        _line(out, "  reviewer", cell(review_text(request.review)))
    if request.editors:
        _line(out, "  edited by", cell(", ".join(request.editors)))
    if request.exclude_requester:
        _line(out, "  not by", cell(f"{request.requested_by or 'whoever asked'}, who asked"))


def review_text(review: Review) -> str:
    """Say who reviews a request, or what the reviewer said of it."""
    if review.is_under_way:
        return f"{review.by} is asked, for {review.timeout_s:g} s at most"
    why = "; ".join(filter(None, [review.reason, review.problem]))
    return f"{review.by}: {opinion_text(review.verdict, review.confidence, review.left, why)}"


def question_of(request: Request) -> str | None:
    """Return the text of a question, as far as it is known here; None for other kinds of request."""
    if request.kind != "question":
        return None
    asked = (request.facts or {}).get("question")
    if isinstance(asked, str):
        return asked
    if request.arguments is not None:
        return str(request.arguments.get("question", ""))
    return f"{request.arguments_preview or ''}…"


def takes_form(request: Request) -> bool:
    """Return True for a question that is answered with JSON of a given form."""
    return request.kind == "question" and not {"schema", "schema_bytes"}.isdisjoint(request.facts or {})


def answer_text(result: RunResult) -> str:
    """Write the answer for people: a text as it is, anything else as JSON."""
    if isinstance(result.output, str):
        return visible(result.output)
    return json_text(result.output, indent=2)


def _line(out: Console, label: str, text: Text) -> None:
    out.print(Text.assemble((f"{label:<12}", "dim"), text), soft_wrap=True)


def facts_of(request: Request, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield the facts of a request, each with its label: those of an attempt in words, others as JSON."""
    facts = dict(request.facts or {})
    if request.kind == "in_doubt" and "ended" in facts:
        ended, detail = facts.pop("ended"), facts.pop("detail", None)
        yield "ended", f"{ended}: {detail}" if detail else str(ended)
        if attempt := attempt_text(facts, now):
            yield "attempt", attempt
        facts = {name: value for name, value in facts.items() if name not in Attempt.model_fields}
    if isinstance(of := facts.pop("mcp", None), dict):
        described = f": {one_line(str(of['description']))}" if of.get("description") else ""
        yield "server", f"{of.get('server')}, which says of {of.get('tool')}{described}"
        if of.get("annotations"):
            yield "hints", json_text(of["annotations"])
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
