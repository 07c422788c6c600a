"""`keys`: signing keys, and the file of those that workers trust."""

# ruff: noqa: PLC0415 a command imports its code when it runs: see the package

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from handfast.cli import options


def keys(
    *,
    action: Annotated[
        Literal["new", "show", "trust", "retire", "remove"],
        typer.Argument(
            help="new: make a signing key in FILE. show: its id and public half. trust: enter --key into FILE, the "
            "workers' trusted keys. retire: keep the key --id in FILE to verify old decisions. remove: take it out."
        ),
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A signing key (new, show), or trusted keys.")],
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="trust: the signing key whose public half is entered.")
    ] = None,
    public: Annotated[
        str | None, typer.Option(metavar="BASE64", help="trust: in its place a public half, as show prints it.")
    ] = None,
    signs_for: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            metavar="NAME",
            help="trust: whose decisions it signs; repeatable. '*': anybody's. "
            "'reviewer:NAME': those of a reviewer on a worker, and of nobody else.",
        ),
    ] = None,
    id: Annotated[str | None, typer.Option(metavar="KEY", help="retire, remove: which key.")] = None,
    json: options.Json = False,
) -> int:
    """Make signing keys, and say which ones workers trust."""
    from handfast.cli import keys as keeping

    match action:
        case "new":
            return keeping.new(file, as_json=json)
        case "show":
            return keeping.show(file, as_json=json)
        case "trust":
            return keeping.trust(file, key, public, signs_for or [], as_json=json)
        case "retire" | "remove":
            return keeping.end(file, id, remove=action == "remove", as_json=json)
