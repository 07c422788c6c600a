"""`init`: an application to start from."""

# ruff: noqa: PLC0415 a command imports its code when it runs: see the package

from __future__ import annotations

from typing import Annotated

import typer

from handfast.cli import options


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
