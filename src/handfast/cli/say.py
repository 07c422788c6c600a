"""Say something to a run that goes on, or let it end after its turn."""

from __future__ import annotations

from dataclasses import dataclass

from handfast.cli import exits
from handfast.cli.options import Where
from handfast.cli.output import one_line, say, warn, write_json
from handfast.cli.place import handfast
from handfast.payloads.messages import MessageReceipt


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
