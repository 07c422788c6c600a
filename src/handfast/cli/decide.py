"""Find the request that a person means, and decide it; cancel runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from handfast.cli import exits
from handfast.cli.options import Where
from handfast.cli.output import json_text, one_line, say, warn, write_json
from handfast.cli.place import handfast
from handfast.client.client import Handfast
from handfast.client.lists import OpenRequest
from handfast.errors import JsonProfileError, RunEndedError, UnknownRequestError
from handfast.payloads.json_profile import JsonValue, parse_json
from handfast.payloads.remember import Remember
from handfast.payloads.requests import Answer, GiveUp, Ran, Receipt, Request, RunAgain, Verdict

SHORTEST_PREFIX: Final = 4

_NO_TOOL: Final = {"budget": "the budget of", "question": "the question of"}
_DONE: Final = {
    "approve": "approved",
    "reject": "rejected",
    "answer": "answered",
    "grant": "granted",
    "ran": "recorded as having run",
}


@dataclass(frozen=True)
class Wanted:
    """A decision as it was typed."""

    request: str
    verdict: Verdict
    by: str
    run: str | None
    note: str | None
    remember: Remember | None = None


def verdict_of(kind: Literal["run_again", "give_up", "ran", "answer"], output: str | None) -> Verdict:
    """Make a verdict from the options.

    Raises:
        InputError: Its output is missing, or it takes none.
    """
    match kind:
        case "answer":
            if output is None:
                raise exits.InputError("--verdict answer needs --output: what the agent is to read")
            return Answer(output=output)
        case "ran":
            return Ran() if output is None else Ran(output=output)
        case _:
            if output is not None:
                raise exits.InputError(f"--verdict {kind} takes no --output")
            return RunAgain() if kind == "run_again" else GiveUp()


def output_of(text: str | None, form: str | None) -> JsonValue:
    """Read an answer as it was typed.

    Raises:
        InputError: It is missing, given twice, or no JSON.
    """
    if (text is None) == (form is None):
        raise exits.InputError("give the answer as TEXT, or as JSON with --form")
    if form is None:
        return text
    try:
        return parse_json(form)
    except JsonProfileError as error:
        raise exits.InputError(f"--form is not JSON: {error.problem}") from None


async def decide(where: Where, wanted: Wanted, *, as_json: bool) -> int:
    """Decide, and say what became of it.

    Raises:
        InputError: The prefix fits several requests.
        RefusalError: Nothing was recorded; its class says why.
    """
    hf = await handfast(where)
    run_id, request = await find(hf, wanted.request, wanted.run)
    receipt = await hf.run(run_id).decide(
        request, wanted.verdict, decided_by=wanted.by, note=wanted.note, remember=wanted.remember
    )
    if as_json:
        write_json({"run": run_id, "receipt": receipt})
    else:
        say(_sentence(run_id, request, receipt))
    if receipt.state == "stored":
        warn(
            f"no worker answered: the server keeps the decision and a worker takes it when it returns; "
            f"see `handfast show {run_id}`"
        )
        return exits.UNCONFIRMED
    return exits.OK


async def find(hf: Handfast, typed: str, run_id: str | None) -> tuple[str, Request | str]:
    """Find the one open request that *typed* means: its run, and itself.

    With *run_id* an id that is not open is handed on as it is, so that the run itself says what became of it.

    Raises:
        InputError: It fits several, or is too short to mean one.
        UnknownRequestError: It fits none.
    """
    if run_id is not None:
        candidates = [OpenRequest(run_id, request) for request in await hf.run(run_id).pending()]
    else:
        candidates = await hf.requests()
    exact = [each for each in candidates if each.request.id == typed]
    found = exact or [each for each in candidates if each.request.id.startswith(typed)]
    if len(found) > 1:
        fitting = ", ".join(f"{each.request.id} ({each.run})" for each in found[:5])
        raise exits.InputError(f"{typed!r} fits {len(found)} requests: {fitting}; give more of the id")
    if not exact and len(typed) < SHORTEST_PREFIX:
        raise exits.InputError(f"{typed!r} is too short for a request's id; give at least {SHORTEST_PREFIX} characters")
    if found:
        return found[0].run, found[0].request
    if run_id is not None:
        return run_id, typed
    raise UnknownRequestError(
        f"nothing that waits has the id {typed!r}; see `handfast approvals`, or name its run with --run "
        "to read what became of it"
    )


async def cancel(where: Where, run_id: str, reason: str, *, as_json: bool) -> int:
    """Ask for the run's cancellation.

    Raises:
        RunEndedError: It has ended already.
    """
    hf = await handfast(where)
    if not await hf.run(run_id).cancel(reason):
        raise RunEndedError(f"{run_id} has ended already; there is nothing to cancel", run=run_id)
    if as_json:
        write_json({"run": run_id, "cancel_requested": True, "reason": reason})
    else:
        say(one_line(f"{run_id}: cancellation requested; what it is doing ends first"))
    return exits.OK


async def cancel_call(where: Where, run_id: str, call_id: str, reason: str, *, as_json: bool) -> int:
    """End one call of a run that goes on.

    Raises:
        CallEndedError: It has its output already, or was never made.
    """
    hf = await handfast(where)
    cancelled = await hf.run(run_id).cancel_call(call_id, reason=reason or None)
    if as_json:
        write_json({"run": run_id, **cancelled.to_wire()})
    else:
        what = "is told to stop" if cancelled.state == "cancelling" else "will not run"
        say(one_line(f"{run_id}: {cancelled.tool} {cancelled.call_id} {what}; the run goes on"))
    return exits.OK


def _sentence(run_id: str, request: Request | str, receipt: Receipt) -> str:
    what = receipt.id
    if isinstance(request, Request) and request.kind in _NO_TOOL:
        what = f"{_NO_TOOL[request.kind]} {request.agent}"
    elif isinstance(request, Request) and request.tool is not None:
        shown = json_text(request.arguments) if request.arguments is not None else request.arguments_preview or ""
        what = f"{request.tool} {shown}"
    done = _DONE.get(receipt.verdict, receipt.verdict)
    again = " (it was decided so before)" if receipt.duplicate else ""
    more = ""
    if receipt.asked_again is not None:
        more = f"; the new arguments are asked about as {receipt.asked_again}"
    elif receipt.open:
        more = f"; vote {receipt.votes} of {receipt.needed}, and it still waits"
    return one_line(f"{run_id}: {what} {done} by {receipt.decided_by or 'somebody'}, {receipt.state}{again}{more}")
