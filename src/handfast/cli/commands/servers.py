"""`dev` and `worker`: processes that serve until they are told to stop."""

# ruff: noqa: PLC0415 a command imports its code when it runs: see the package

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from handfast.cli import options

Grace = Annotated[
    float,
    typer.Option(metavar="SECONDS", min=0, help="How long running tools may go on after SIGTERM or Ctrl-C."),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        min=1, envvar="HANDFAST_CONCURRENCY", help="Tools and model calls that run at a time; 100 by default."
    ),
]


def dev(
    *,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE[:NAME]]",
            help="Agents to serve as well; by default what [tool.handfast] in pyproject.toml names. "
            "Without either only the server runs.",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="For Temporal's clients; 0 takes any free one. By default 7233, or any free one where that is taken.",
        ),
    ] = None,
    ui_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="For Temporal's page; by default 1000 above --port.")
    ] = None,
    task_queue: options.TaskQueue = options.TASK_QUEUE,
    grace: Grace = 30,
    concurrency: Concurrency = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="PROVIDER:MODEL",
            help="Every agent asks this model in place of its own, as in ollama:llama3.2; no script plays it.",
        ),
    ] = None,
    reload: Annotated[
        bool,
        typer.Option("--reload", help="Serve the code as it is now: a fresh worker whenever a Python file changes."),
    ] = False,
    json: options.Json = False,
) -> int:
    """Run a Temporal server on this machine, and a worker for your agents.

    The server keeps its data under .handfast in this folder. A second start uses the one that runs already. Where
    [tool.handfast] names a script and OPENAI_API_KEY is not set, the script plays the model and a first run is started.
    """
    from handfast.cli import serve

    serving = serve.Serving(task_queue, grace, concurrency, as_json=json)
    return asyncio.run(serve.dev(target, serving, port=port, ui_port=ui_port, model=model, reload=reload))


def worker(
    *,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE[:NAME]]",
            help="Where the agents are: a module, and a name in it if need be; by default what [tool.handfast] in "
            "pyproject.toml names.",
        ),
    ] = None,
    task_queue: options.TaskQueue = options.TASK_QUEUE,
    grace: Grace = 30,
    concurrency: Concurrency = None,
    per_second: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            min=0.001,
            help="Tools and model calls a second that the server hands out from the task queue, to all its workers "
            "together: for a queue of model calls, below a provider's rate limit.",
        ),
    ] = None,
    deployment: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            envvar="HANDFAST_DEPLOYMENT",
            help="Be a versioned worker of this deployment: runs stay with the version that they began with until they "
            "go on in a fresh history.",
        ),
    ] = None,
    build_id: Annotated[
        str | None, typer.Option(metavar="ID", envvar="HANDFAST_BUILD_ID", help="The version of --deployment.")
    ] = None,
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
    json: options.Json = False,
) -> int:
    """Serve your agents until SIGTERM or Ctrl-C, then let running tools finish."""
    from handfast.cli import serve

    where = options.Where(address, namespace, profile)
    version = serve.version_of(deployment, build_id)
    serving = serve.Serving(task_queue, grace, concurrency, as_json=json, per_second=per_second, deployment=version)
    return asyncio.run(serve.worker(target, where, serving, until_eof=until_eof))
