"""Whether what a person grants lets an exhausted run go on. Pure."""

from __future__ import annotations

from holdfast.errors import GrantRefusedError
from holdfast.payloads.requests import BudgetFacts, Grant, Request


def refuse_useless(request: Request, grant: Grant) -> None:
    """Refuse a grant after which the limit would still be reached.

    Raises:
        GrantRefusedError: The text says how much would help.
    """
    facts = BudgetFacts.from_wire(request.facts)
    more = grant.turns if facts.what == "turns" else grant.tokens
    least = facts.used - facts.limit + 1
    if more is None or more < least:
        raise GrantRefusedError(
            f"{request.id} is about {facts.what}: {facts.used:,} of {facts.limit:,} are used; "
            f"grant at least {least:,} {facts.what}",
            request=request.id,
            limit=facts.what,
            least=str(least),
        )
