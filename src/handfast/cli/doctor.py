"""Run the checks of `handfast doctor`, show their findings, and register what a namespace lacks."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from handfast.cli import exits
from handfast.cli.health.checks import CHECKS, away, examine
from handfast.cli.health.findings import Finding
from handfast.cli.options import Where
from handfast.cli.output import one_line, say, write_json
from handfast.cli.place import handfast, quiet_core
from handfast.cli.terminal import cell, console
from handfast.connection import connect, connect_config
from handfast.errors import NamespaceNotFoundError, ServerUnavailableError
from handfast.temporal.namespace import register_search_attributes
from handfast.temporal.search_attributes import SEARCH_ATTRIBUTES

MARKS: Final = {"ok": ("ok", "green"), "note": ("note", "yellow"), "wrong": ("WRONG", "bold red")}


async def doctor(where: Where, task_queue: str, *, as_json: bool) -> int:
    """Run every check, and say what was found.

    Returns:
        `exits.UNHEALTHY` where something is wrong; what is only worth a note changes nothing.
    """
    findings = await _findings(where, task_queue)
    wrong = sum(each.state == "wrong" for each in findings)
    if as_json:
        write_json({"healthy": not wrong, "findings": findings})
    else:
        console().print(_table(findings))
        say("" if findings else "nothing was looked at")
        say(f"{wrong} wrong" if wrong else "all is well")
    return exits.UNHEALTHY if wrong else exits.OK


async def _findings(where: Where, task_queue: str) -> list[Finding]:
    found: list[Finding] = []
    with console(stderr=True).status("connecting") as progress:  # shows nothing where no terminal reads
        try:
            hf = await handfast(where, task_queue)
        except (ServerUnavailableError, NamespaceNotFoundError) as error:
            return [away(error)]
        for check in CHECKS:
            progress.update(f"looking at {check.name}")
            found += await examine(check, hf)
    return found


def _table(findings: Sequence[Finding]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("CHECK", "", "FOUND"):
        table.add_column(heading, overflow="fold")
    for each in findings:
        mark, style = MARKS[each.state]
        found = cell(each.said)
        if each.remedy:
            found = Text("\n").join([found, Text.assemble(("→ ", "dim"), cell(each.remedy, "italic"))])
        table.add_row(cell(each.check), Text(mark, style=style), found)
    return table


def show_commands(where: Where, *, as_json: bool) -> int:
    """Print the commands that somebody with the rights may run; ask no server."""
    namespace = where.namespace or connect_config(where.address, where.profile).get("namespace", "default")
    commands = [
        f"temporal operator search-attribute create --namespace {shlex.quote(namespace)} --name {name} --type {kind}"
        for name, kind in SEARCH_ATTRIBUTES.items()
    ]
    if as_json:
        write_json({"namespace": namespace, "commands": commands})
    else:
        for command in commands:
            say(command)
    return exits.OK


async def register(where: Where, *, as_json: bool) -> int:
    """Register what is missing."""
    quiet_core()
    client = await connect(where.address, profile=where.profile, namespace=where.namespace)
    registered = await register_search_attributes(client)
    if as_json:
        write_json({"namespace": client.namespace, "registered": dict(registered)})
    elif registered:
        say(one_line(f"registered in namespace {client.namespace}: {', '.join(registered)}"))
    else:
        say(one_line(f"namespace {client.namespace} has them all; nothing to do"))
    return exits.OK
