"""Steer a run that goes on: send it messages, let it end after its turn, raise its limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from handfast.cli import exits
from handfast.cli.options import Where
from handfast.cli.output import one_line, say, warn, write_json
from handfast.cli.place import handfast
from handfast.payloads.messages import MessageReceipt
from handfast.payloads.requests import LimitsRaised


@dataclass(frozen=True)
class Said:
    """A message as it was typed."""

    text: str
    now: bool
    message_id: str | None
    frame: str | None
    by: str


async def send(where: Where, run_id: str, said: Said, *, as_json: bool) -> int:
    """Send a message, and show its receipt.

    Raises:
        RefusalError: It was not taken; its class says why.
    """
    hf = await handfast(where)
    receipt = await hf.run(run_id).send(
        said.text, when="now" if said.now else "next", message_id=said.message_id, by=said.by, frame=said.frame
    )
    if as_json:
        write_json({"run": run_id, "receipt": receipt})
    else:
        say(one_line(f"{run_id}: {_sentence(receipt)}"))
    if receipt.state == "stored":
        warn(f"no worker answered: the server keeps message {receipt.id}, and a worker takes it when it returns")
        return exits.UNCONFIRMED
    return exits.REFUSED if receipt.state == "refused" else exits.OK


async def stop(where: Where, run_id: str, reason: str, *, as_json: bool) -> int:
    """Let a run end after its turn.

    Raises:
        RunEndedError: It has ended already.
    """
    hf = await handfast(where)
    await hf.run(run_id).stop(reason)
    if as_json:
        write_json({"run": run_id, "stop_requested": True, "reason": reason})
    else:
        say(one_line(f"{run_id}: ends after its turn"))
    return exits.OK


def _sentence(receipt: MessageReceipt) -> str:
    again = " (it was sent before)" if receipt.duplicate else ""
    match receipt.state:
        case "queued":
            if receipt.interrupts:
                return f"the model is called again with message {receipt.id}{again}"
            return f"message {receipt.id} is read before the next model call{again}"
        case "placed":
            return f"message {receipt.id} stands where the model reads it{again}"
        case "refused":
            return f"message {receipt.id} was refused: {receipt.why}{again}"
        case "stored":
            return f"message {receipt.id} stored"


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
        say(_raised_text(run_id, raised))
    return exits.OK


def _raised_text(run_id: str, raised: LimitsRaised) -> str:
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
