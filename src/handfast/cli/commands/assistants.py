"""`mcp`: the inbox for an assistant."""

# ruff: noqa: PLC0415 a command imports its code when it runs: see the package

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import Annotated

import typer

from handfast.cli import options
from handfast.cli.exits import InputError


def mcp(
    *,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            envvar=options.USER,
            help="The person whose assistant it serves, under whose name it decides: a claimed name, unless "
            "HANDFAST_SIGNING_KEY signs for it. Without one nothing is decided.",
        ),
    ] = None,
    task_queue: options.TaskQueue = options.TASK_QUEUE,
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
) -> int:
    """Serve runs and what waits for a person to an assistant, by MCP on stdin and stdout.

    Its tools are start_run, show_run, list_approvals, show_approval and decide.
    """
    if find_spec("mcp") is None:
        raise InputError("`handfast mcp` needs the extra mcp: pip install 'handfast[mcp]'")
    from handfast.cli import mcp_server

    return asyncio.run(mcp_server.serve(options.Where(address, namespace, profile), by, task_queue))
