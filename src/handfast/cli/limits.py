"""Give a run more turns, tokens, time or money, and show the limits that hold now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from handfast.cli import exits
from handfast.cli.options import Where
from handfast.cli.output import one_line, say, write_json
from handfast.cli.place import handfast
from handfast.payloads.requests import LimitsRaised


@dataclass(frozen=True)
class More:
    """The additions, as they were typed."""

    turns: int | None
    tokens: int | None
    seconds: int | None
    cost: str | None
    frame: str | None
    by: str
    session: bool


async def raise_limits(where: Where, run_id: str, more: More, *, as_json: bool) -> int:
    """Raise the limits.

    Raises:
        RefusalError: Nothing was changed; its class says why.
        TimeoutError: No worker answered.
    """
    hf = await handfast(where)
    duration = None if more.seconds is None else timedelta(seconds=more.seconds)
    raised = await hf.run(run_id).raise_limits(
        turns=more.turns,
        tokens=more.tokens,
        duration=duration,
        cost=more.cost,
        by=more.by,
        frame=more.frame,
        session=more.session,
    )
    if as_json:
        write_json({"run": run_id, "limits": raised})
    else:
        say(_sentence(run_id, raised))
    return exits.OK


def _sentence(run_id: str, raised: LimitsRaised) -> str:
    known = [
        f"at most {limit:,} {what}"
        for limit, what in (
            (raised.max_turns, "turns"),
            (raised.max_tokens, "tokens"),
            (raised.max_seconds, "seconds of work"),
            (raised.max_cost, "of money"),
            (raised.session_turns, "turns of the session"),
            (raised.session_tokens, "tokens of the session"),
            (raised.session_cost, "of money for the session"),
        )
        if limit is not None
    ]
    return one_line(f"{run_id}: {' and '.join(known) or 'raised; its limits are known after the first reply'}")
