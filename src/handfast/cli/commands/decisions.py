"""`approvals`, `approve`, `reject`, `decide`: what waits for a person."""

# ruff: noqa: PLC0415 a command imports its code when it runs: see the package

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

import typer

from handfast.cli import options

RequestArgument = Annotated[
    str, typer.Argument(metavar="REQUEST", help="Its id, or the start of it where that fits one only.")
]
Note = Annotated[str | None, typer.Option(metavar="TEXT", help="Recorded beside the decision.")]


def approvals(
    *,
    run: options.RunOption = None,
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="Only requests of runs of this agent.")] = None,
    approver: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only what names this approver: a person, or group:finance.")
    ] = None,
    tool: Annotated[str | None, typer.Option(metavar="NAME", help="Only calls of this tool.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only of runs with this label; repeatable.")
    ] = None,
    order_by: Annotated[Literal["age", "due"], typer.Option(help="Oldest, or what is due first.")] = "age",
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
    json: options.Json = False,
) -> int:
    """List what waits for a person; no worker is needed."""
    from handfast.cli import lists

    where = options.Where(address, namespace, profile)
    filters = lists.Filters(agent, approver, tool, options.label_pairs(label or []), order_by)
    return asyncio.run(lists.approvals(where, run=run, filters=filters, as_json=json))


def approve(
    *,
    request: RequestArgument,
    run: options.RunOption = None,
    by: options.By = None,
    note: Note = None,
    arguments: Annotated[
        str | None, typer.Option(metavar="JSON", help="Run the call with these arguments instead; checked first.")
    ] = None,
    remember: options.RememberOption = None,
    scope: options.ScopeOption = None,
    uses: options.UsesOption = None,
    until: options.UntilOption = None,
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
    json: options.Json = False,
) -> int:
    """Let a call run."""
    from handfast.cli import decide as deciding
    from handfast.payloads.requests import Approve

    edited = options.json_object("--arguments", arguments) if arguments is not None else None
    where = options.Where(address, namespace, profile)
    decision = deciding.Wanted(
        request,
        Approve(arguments=edited),
        by=options.user(by),
        run=run,
        note=note,
        remember=options.remembered(remember, scope, uses, until),
    )
    return asyncio.run(deciding.decide(where, decision, as_json=json))


def reject(
    *,
    request: RequestArgument,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="The agent reads it, word for word.")] = None,
    run: options.RunOption = None,
    by: options.By = None,
    note: Note = None,
    remember: options.RememberOption = None,
    scope: options.ScopeOption = None,
    uses: options.UsesOption = None,
    until: options.UntilOption = None,
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
    json: options.Json = False,
) -> int:
    """Do not let a call run."""
    from handfast.cli import decide as deciding
    from handfast.payloads.requests import Reject

    where = options.Where(address, namespace, profile)
    decision = deciding.Wanted(
        request,
        Reject(reason=reason),
        by=options.user(by),
        run=run,
        note=note,
        remember=options.remembered(remember, scope, uses, until),
    )
    return asyncio.run(deciding.decide(where, decision, as_json=json))


def decide(
    *,
    request: RequestArgument,
    verdict: Annotated[
        Literal["run_again", "give_up", "ran", "answer"],
        typer.Option(
            help="run_again: it took no effect, run it again. ran: it did take effect. give_up: leave it, the agent is "
            "told that the outcome is unknown. answer: do not run it, give --output to the agent instead."
        ),
    ],
    output: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the agent reads as the call's output (ran, answer).")
    ] = None,
    run: options.RunOption = None,
    by: options.By = None,
    note: Note = None,
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
    json: options.Json = False,
) -> int:
    """Decide a request that is no plain yes or no, such as a call whose outcome is unknown."""
    from handfast.cli import decide as deciding

    where = options.Where(address, namespace, profile)
    made = deciding.verdict_of(verdict, output)
    decision = deciding.Wanted(request, made, by=options.user(by), run=run, note=note)
    return asyncio.run(deciding.decide(where, decision, as_json=json))
