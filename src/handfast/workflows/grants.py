"""Whether what a person grants or answers is of use to the run that waits for it. Pure."""

from __future__ import annotations

from handfast.errors import AnswerRefusedError, GrantRefusedError
from handfast.payloads.requests import Answer, BudgetFacts, Grant, Request, Verdict


def refuse_useless(request: Request, grant: Grant) -> None:
    """Refuse a grant after which the limit would still be reached.

    Raises:
        GrantRefusedError: The text says how much would help.
    """
    facts = BudgetFacts.from_wire(request.facts)
    unit = "seconds" if facts.what == "time" else facts.what
    more = {"turns": grant.turns, "tokens": grant.tokens, "time": grant.seconds}[facts.what]
    least = facts.used - facts.limit + 1
    if more is None or more < least:
        raise GrantRefusedError(
            f"{request.id} is about {facts.what}: {facts.used:,} of {facts.limit:,} are used; "
            f"grant at least {least:,} {unit}",
            request=request.id,
            limit=facts.what,
            least=str(least),
        )


def has_form(request: Request) -> bool:
    """Whether an answer must satisfy a form, which the question's agent checks."""
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
