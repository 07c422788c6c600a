"""`init`, `setup` and `doctor`: an application to start from, and what its namespace needs."""

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
    from handfast.cli import doctor as registering

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


def init(
    *,
    name: Annotated[str, typer.Argument(help="Of the folder, the project, its module and its agent, as in my-desk.")],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="PROVIDER:MODEL",
            help="What its agents ask, as in ollama:llama3.2; by default OpenAI's, and a script where there is no key.",
        ),
    ] = None,
    json: options.Json = False,
) -> int:
    """Write a small application into a new folder: agents, tools, a workflow, a worker, tests.

    `handfast dev` runs it at once: without OPENAI_API_KEY a script plays the model, unless --model names another.
    """
    from handfast.cli import init as writing

    return writing.init(name, model=model, as_json=json)
