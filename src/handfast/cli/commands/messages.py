"""`send`, `stop`: what a run that goes on is told."""

# ruff: noqa: PLC0415 a command imports its code when it runs: see the package

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from handfast.cli import options

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]


def send(
    *,
    run: RunArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What the model reads; - reads it from stdin.")],
    now: Annotated[
        bool,
        typer.Option("--now", help="Make the model call under way again with it; do not wait for the next."),
    ] = False,
    id: Annotated[
        str | None,
        typer.Option("--id", metavar="MESSAGE", help="The message's id: to send it again changes nothing."),
    ] = None,
    frame: Annotated[
        str | None, typer.Option(metavar="ID", help="Which loop, where several agents are at work.")
    ] = None,
    by: options.By = None,
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
    json: options.Json = False,
) -> int:
    """Say something to a run while it works: the model reads it before it is called next."""
    from handfast.cli import steer
    from handfast.cli.start import text_of

    where = options.Where(address, namespace, profile)
    said = steer.Said(text=text_of(text), now=now, message_id=id, frame=frame, by=options.user(by))
    return asyncio.run(steer.send(where, run, said, as_json=json))


def stop(
    *,
    run: RunArgument,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Recorded, and part of the run's result.")] = "",
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
    json: options.Json = False,
) -> int:
    """Let a run end after its turn: calls under way finish, and the model is not called again."""
    from handfast.cli import steer

    return asyncio.run(steer.stop(options.Where(address, namespace, profile), run, reason, as_json=json))
