"""`answer`: the output of a question. `grant`, `raise`: more turns, tokens, time or money."""

# ruff: noqa: PLC0415 a command imports its code when it runs: see the package

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from handfast.cli import options
from handfast.cli.commands.decisions import Note, RequestArgument

TurnsOption = Annotated[int | None, typer.Option(metavar="N", min=1, help="Model replies to add.")]
TokensOption = Annotated[int | None, typer.Option(metavar="N", min=1, help="Tokens to add.")]
SecondsOption = Annotated[int | None, typer.Option(metavar="N", min=1, help="Seconds of work to add.")]
CostOption = Annotated[str | None, typer.Option(metavar="AMOUNT", help="Money to add.")]


def answer(
    *,
    request: RequestArgument,
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="What the agent reads.")] = None,
    form: Annotated[
        str | None, typer.Option(metavar="JSON", help="In place of TEXT, where the question has a form.")
    ] = None,
    run: options.RunOption = None,
    by: options.By = None,
    note: Note = None,
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
    json: options.Json = False,
) -> int:
    """Answer a question, or a call in its place: the agent reads it as the call's output."""
    from handfast.cli import decide as deciding
    from handfast.payloads.requests import Answer

    verdict = Answer(output=deciding.output_of(text, form))
    where = options.Where(address, namespace, profile)
    decision = deciding.Wanted(request, verdict, by=options.user(by), run=run, note=note)
    return asyncio.run(deciding.decide(where, decision, as_json=json))


def grant(
    *,
    request: RequestArgument,
    turns: TurnsOption = None,
    tokens: TokensOption = None,
    seconds: SecondsOption = None,
    cost: CostOption = None,
    run: options.RunOption = None,
    by: options.By = None,
    note: Note = None,
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
    json: options.Json = False,
) -> int:
    """Grant what an exhausted run asks for; it goes on where it stopped."""
    from handfast.cli import decide as deciding
    from handfast.client.decide import made
    from handfast.payloads.requests import Grant

    where = options.Where(address, namespace, profile)
    verdict = made(Grant, turns=turns, tokens=tokens, seconds=seconds, cost=cost)
    decision = deciding.Wanted(request, verdict, by=options.user(by), run=run, note=note)
    return asyncio.run(deciding.decide(where, decision, as_json=json))


def raise_limits(
    *,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    turns: TurnsOption = None,
    tokens: TokensOption = None,
    seconds: SecondsOption = None,
    cost: CostOption = None,
    frame: Annotated[
        str | None, typer.Option(metavar="ID", help="Which loop, where several agents are at work.")
    ] = None,
    session: Annotated[
        bool, typer.Option("--session", help="Raise the budget of a whole session, in place of a message's limits.")
    ] = False,
    by: options.By = None,
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
    json: options.Json = False,
) -> int:
    """Give a run that goes on more turns, tokens, time or money, whether it waits for them or not."""
    from handfast.cli import steer

    where = options.Where(address, namespace, profile)
    more = steer.More(turns, tokens, seconds, cost, frame=frame, by=options.user(by), session=session)
    return asyncio.run(steer.raise_limits(where, run, more, as_json=json))
