"""One request in the ledger, and the refusals that a decision gets by the request's own state."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from handfast.errors import (
    AnswerRefusedError,
    DeadlinePassedError,
    GrantRefusedError,
    RequestClosedError,
    StaleDigestError,
    VerdictNotAllowedError,
)
from handfast.payloads.binding import Binding
from handfast.payloads.requests import Answer, Approve, BudgetFacts, Decision, GiveUp, Grant, Reject, Request, Verdict


class Entry(BaseModel):
    """A request, and how it closed.

    Attributes:
        digest: What the call may run with; not the request's where a person edited the arguments.
        binding: What it covers besides them, where a remembered decision answers another call; None: the request's.
        proofs: The signed decisions that closed it: of each person the last one.
    """

    request: Request
    digest: str
    binding: Binding | None = None
    state: Literal["open", "checking", "decided", "edited", "expired", "withdrawn"] = "open"
    verdict: Verdict | None = None
    closed_by: str | None = None
    closed_at: datetime | None = None
    note: str | None = None
    proofs: list[Decision] = []

    @property
    def waits(self) -> bool:
        """True while the request is still to be decided."""
        return self.state in ("open", "checking")


def check_open(entry: Entry, decision: Decision, now: datetime) -> None:
    """Refuse a decision that the request does not take, or no longer takes.

    Raises:
        RefusalError: One of its subclasses.
    """
    request = entry.request
    if entry.state == "checking" and not isinstance(decision.verdict, Reject):
        raise RequestClosedError(
            f"{request.id} is being decided by {entry.closed_by or 'someone'}; reload the list",
            request=request.id,
            closed_by=entry.closed_by,
        )
    if not entry.waits:
        raise _closed(entry)
    _check_verdict(request, decision)
    if decision.digest is not None and decision.digest != request.digest:
        raise StaleDigestError(
            f"the digest is not that of {request.id}; reload the request and decide again",
            request=request.id,
            digest=request.digest,
        )
    deadline = request.deadline
    if deadline is not None and now >= deadline and not isinstance(decision.verdict, Reject | GiveUp):
        raise DeadlinePassedError(
            f"{request.id} was to be decided before {deadline.isoformat()}, and a worker took this at "
            f"{now.isoformat()}: too late, whenever it was sent",
            request=request.id,
            deadline=deadline.isoformat(),
            taken_at=now.isoformat(),
        )


def _closed(entry: Entry) -> RequestClosedError:
    by, at = entry.closed_by or "someone unnamed", entry.closed_at
    how = {
        "decided": f"was decided ({entry.verdict.kind if entry.verdict else '?'}) by {by}",
        "edited": f"was edited by {by}, and is asked about again in another request,",
        "expired": "expired",
        "withdrawn": f"was withdrawn ({by})",
    }[entry.state]
    return RequestClosedError(
        f"{entry.request.id} {how} at {at:%Y-%m-%d %H:%M:%S} UTC; reload the list",
        request=entry.request.id,
        state=entry.state,
        closed_by=entry.closed_by,
        closed_at=at.isoformat() if at else None,
        verdict=entry.verdict.kind if entry.verdict else None,
    )


def _check_verdict(request: Request, decision: Decision) -> None:
    kind = decision.verdict.kind
    if kind not in request.verdicts:
        raise VerdictNotAllowedError(
            f"{request.id} ({request.kind}) takes {', '.join(request.verdicts)}, not {kind}",
            request=request.id,
            verdict=kind,
            allowed=request.verdicts,
        )
    verdict = decision.verdict
    if request.kind == "hosted_mcp" and isinstance(verdict, Approve) and verdict.arguments is not None:
        raise VerdictNotAllowedError(
            f"{request.id} cannot be approved with other arguments: the provider runs its own; reject it with a reason",
            request=request.id,
            verdict=kind,
            allowed=request.verdicts,
        )
    if isinstance(decision.verdict, Grant):
        refuse_useless(request, decision.verdict)
    refuse_no_text(request, decision.verdict)


def refuse_useless(request: Request, grant: Grant) -> None:
    """Refuse a grant after which the limit would still be reached.

    Raises:
        GrantRefusedError: The text says how much would help.
    """
    facts = BudgetFacts.from_wire(request.facts)
    unit = "seconds" if facts.what == "time" else facts.what
    more = {"turns": grant.turns, "tokens": grant.tokens, "time": grant.seconds, "cost": grant.cost}[facts.what]
    over = facts.used - facts.limit
    least = over if facts.what == "cost" else over + 1
    if more is None or more < least or more == over:
        at_least = f"more than {over:,}" if facts.what == "cost" else f"at least {least:,} {unit}"
        raise GrantRefusedError(
            f"{request.id} is about {facts.what}: {facts.used:,} of {facts.limit:,} are used; grant {at_least}",
            request=request.id,
            limit=facts.what,
            least=str(least),
        )


def has_form(request: Request) -> bool:
    """Return whether an answer must satisfy a form, which the question's agent checks."""
    return request.kind == "question" and "schema" in (request.facts or {})


def refuse_no_text(request: Request, verdict: Verdict) -> None:
    """Refuse an answer that is no text, where a question has no form.

    Raises:
        AnswerRefusedError: It is empty, or no text.
    """
    if request.kind != "question" or has_form(request) or not isinstance(verdict, Answer):
        return
    if not isinstance(verdict.output, str) or not verdict.output.strip():
        raise AnswerRefusedError(f"{request.id} takes a text, and not an empty one", request=request.id)
