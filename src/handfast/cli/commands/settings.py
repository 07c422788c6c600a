"""`setup` and `doctor`: what a namespace needs, and whether all is well."""

# ruff: noqa: PLC0415 a command imports its code when it runs: see the package

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from handfast.cli import options


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
    from handfast.cli import setup as registering

    where = options.Where(address, namespace, profile)
    if only_print:
        return registering.show_commands(where, as_json=json)
    return asyncio.run(registering.register(where, as_json=json))


def doctor(
    *,
    task_queue: options.TaskQueue = options.TASK_QUEUE,
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
    json: options.Json = False,
) -> int:
    """Look at the server, the workers and the runs, and say what is wrong and what to do about it."""
    from handfast.cli import doctor as examining

    return asyncio.run(examining.doctor(options.Where(address, namespace, profile), task_queue, as_json=json))
