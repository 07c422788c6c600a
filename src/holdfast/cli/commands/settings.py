"""`setup`: what a namespace needs."""

# ruff: noqa: PLC0415 what a command does is imported when it runs: see the package

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from holdfast.cli import options


def setup(
    *,
    only_print: Annotated[
        bool,
        typer.Option("--print", help="Touch nothing; print the commands for whoever has the rights to run them."),
    ] = False,
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
    json: options.Json = False,
) -> int:
    """Register the search attributes by which lists across runs are made."""
    from holdfast.cli import setup as registering

    where = options.Where(address, namespace, profile)
    if only_print:
        return registering.show_commands(where, as_json=json)
    return asyncio.run(registering.register(where, as_json=json))
