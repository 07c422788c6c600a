"""Run the checks of `handfast doctor`, and show their findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from handfast.cli import exits
from handfast.cli.health.checks import CHECKS, away, examine
from handfast.cli.health.findings import Finding
from handfast.cli.options import Where
from handfast.cli.output import say, write_json
from handfast.cli.place import handfast
from handfast.cli.terminal import cell, console
from handfast.errors import NamespaceNotFoundError, ServerUnavailableError

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
