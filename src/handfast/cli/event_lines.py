"""Write each event of a run as one line for people."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from handfast.cli.output import json_text, one_line
from handfast.cli.tables import STYLES, arguments_text
from handfast.payloads import events
from handfast.payloads.signature import SignedBy

SHOWN: Final = 400
"""Characters of an output or a text that a line shows."""
_LEDGER: Final = {
    "request_voted": "vote",
    "request_edited": "edited",
    "approval_voided": "void",
    "request_decided": "decided",
    "notification_failed": "could not be told",
    "request_reminded": "still waits",
    "request_expired": "expired",
    "request_withdrawn": "withdrawn",
    "request_refused": "refused",
    "remembered": "remembered",
    "decision_repeated": "repeated",
}


def line_of(event: events.RunEvent) -> Text:
    """Make the line of an event: time, agent, what happened."""
    what, style = _said(event)
    line = Text.assemble((f"{event.at:%H:%M:%S} ", "dim"), (f"{_who(event):<16} ", "bold"), (what, style))
    if isinstance(event, events.RequestOpened):
        line.append(" ")
        line.append_text(arguments_text(event.request))
    return line


def _who(event: events.RunEvent) -> str:
    path = getattr(event, "agent_path", None) or [getattr(event, "agent", None) or "run"]
    return one_line(" > ".join(str(each) for each in path))


def _said(event: events.RunEvent) -> tuple[str, str]:
    """Return the text of an event, and its style."""
    match event:
        case events.RunStarted(input=given):
            return f"started {_short(given)}".rstrip(), ""
        case events.TurnStarted(turn=turn):
            return f"turn {turn}", "dim"
        case events.ModelReplied(text=text, refusal=refusal, calls=calls):
            return _reply(text or refusal or "", [call.tool for call in calls])
        case events.ModelFailed(failure=failure, message=message):
            return f"the model call failed ({failure}): {_short(message)}", "red"
        case events.HandedOver(to=to):
            return f"hands over to {one_line(to)}", "cyan"
        case events.AgentStarted():
            return "begins", "dim"
        case events.AgentFinished(status=status, output=output, message=message):
            return f"{status} {_short(output if output is not None else message)}", STYLES.get(status, "")
        case events.GuardrailSpoke(guardrail=name, kind=kind, outcome=outcome, reason=reason):
            style = "" if outcome == "allow" else "yellow"
            return f"{kind} guardrail {one_line(name or '')}: {outcome} {_short(reason)}".rstrip(), style
        case events.RequestOpened(request=request):
            return f"waits for a person: {one_line(request.tool or request.kind)} {request.id[:8]}", "yellow"
        case events.RunFinished(status=status) | events.WorkflowFinished(status=status):
            return _end(event), STYLES.get(status, "")
        case events.StatusChanged(status=status, pending=pending):
            return f"{status}, {pending} open" if pending else status, STYLES.get(status, "")
        case _:
            return _of_calls(event)


def _of_calls(event: events.RunEvent) -> tuple[str, str]:
    match event:
        case events.ToolCalled(tool=tool, arguments=arguments, start=start, repeats=repeats):
            again = f" (start {start})" if start > 1 else " (as before)" if repeats is not None else ""
            return f"{one_line(tool)} runs{again} {_short(arguments)}", "cyan"
        case events.ToolOutput(tool=tool, output=output):
            return f"{one_line(tool)} -> {_short(output)}", "green"
        case events.ToolFailed(tool=tool, why=why, output=output, message=message):
            return f"{one_line(tool)} failed ({why}): {_short(output or message)}", "red"
        case events.MayHaveHappened(tool=tool, why=why, arguments=arguments):
            return f"{one_line(tool)} may have happened ({why}) {_short(arguments)}".rstrip(), "red"
        case events.ToolAsked(tool=tool):
            return f"{one_line(tool)} waits: its MCP server asks a person", "yellow"
        case events.ToolCancelled(tool=tool):
            return f"{one_line(tool)} was cancelled", "magenta"
        case events.RequestReviewed():
            return _reviewed(event), "yellow" if event.left else "green"
        case events.RequestEscalated(tool=tool, kind=kind, approvers=approvers):
            return f"{one_line(tool or kind or '')} escalated to {one_line(', '.join(approvers or ()))}", "yellow"
        case events.ToolNotRun(tool=tool, why=why, output=output):
            return f"{one_line(tool)} did not run ({why}): {_short(output)}", "magenta"
        case _ if event.type in _LEDGER:
            return _ledger(event), "yellow"
        case _:
            return _plain(event), "dim"


def _ledger(event: events.RunEvent) -> str:
    about = getattr(event, "tool", None) or getattr(event, "kind", None) or getattr(event, "request", None) or ""
    parts = [one_line(str(about)), _LEDGER[event.type]]
    parts += [str(getattr(event, "verdict", None) or "")]
    by, why = getattr(event, "by", None), getattr(event, "why", None)
    key = getattr(event, "signed_by", None)
    parts += [f"by {one_line(by)}" if by else "", verified_text(key), f"({_short(why)})" if why else ""]
    return " ".join(part for part in parts if part)


def _reviewed(event: events.RequestReviewed) -> str:
    opinion = opinion_text(event.verdict, event.confidence, event.left, event.why)
    return f"{one_line(event.tool or event.kind or '')} reviewed by {one_line(event.by or '')}: {opinion}"


def opinion_text(verdict: str | None, confidence: float | None, left: str | None, why: str | None) -> str:
    """Write what a reviewer said, and why people decide, if they do."""
    said = f"{verdict} with confidence {confidence:.2f}" if verdict and confidence is not None else "no opinion"
    because = f", left to people ({left.replace('_', ' ')})" if left else ""
    return f"{said}{because}{f': {_short(why)}' if why else ''}"


def verified_text(key: SignedBy | None) -> str:
    """Name the key that vouches for the name before it; empty where the name is only claimed."""
    return "" if key is None else one_line(f"[verified: {key.kid}, {key.method}]")


def _plain(event: events.RunEvent) -> str:
    facts = {
        name: value
        for name, value in event.to_wire().items()
        if name not in ("type", "offset", "at", "frame", "agent", "agent_path", "turn")
    }
    return f"{one_line(event.type)} {_short(facts)}" if facts else one_line(event.type)


def _reply(text: str, tools: list[str]) -> tuple[str, str]:
    calls = f"calls {one_line(', '.join(tools))}" if tools else ""
    said = _short(text)
    return f"{said}{' · ' if said and calls else ''}{calls}", ""


def _end(event: events.RunFinished | events.WorkflowFinished) -> str:
    failure = f" ({one_line(event.failure)})" if event.failure else ""
    output = event.output if isinstance(event, events.RunFinished) else None
    return f"{event.status}{failure} {_short(output if output is not None else event.message)}".rstrip()


def _short(value: object) -> str:
    """Put a value on one line, cut where it is long."""
    if value is None:
        return ""
    text = one_line(value) if isinstance(value, str) else json_text(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
