"""The commands by name."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from handfast.cli.commands import (
    answers,
    assistants,
    decisions,
    keys,
    messages,
    records,
    runs,
    servers,
    settings,
)

app = typer.Typer(
    name="handfast",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"handfast {version('handfast')}")
        raise typer.Exit


@app.callback()
def handfast(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """AI agents as Temporal workflows, and a person's yes or no that reaches exactly one call, once."""


for _command in (
    settings.init,
    servers.dev,
    servers.worker,
    runs.start,
    runs.runs,
    runs.show,
    runs.watch,
    runs.chat,
    runs.cancel,
    messages.send,
    messages.stop,
    decisions.approvals,
    decisions.approve,
    decisions.reject,
    decisions.decide,
    answers.answer,
    answers.grant,
    assistants.mcp,
    records.export,
    records.erase,
    keys.keys,
    keys.codec,
    keys.rekey,
    settings.setup,
    settings.doctor,
):
    app.command()(_command)
app.command("raise")(answers.raise_limits)
