"""`keys`, `rekey` and `codec`: signing keys, the keys of encrypted runs, and what reads those."""

# ruff: noqa: PLC0415 a command imports its code when it runs: see the package

from __future__ import annotations

import asyncio
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


KeyFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        envvar="HANDFAST_ENCRYPTION_KEYS",
        help="The key ring, a JSON file; HANDFAST_ENCRYPTION_KEYS by default.",
    ),
]


def rekey(
    *,
    file: KeyFile,
    id: Annotated[str | None, typer.Option(metavar="ID", help="Of the new key; today's date by default.")] = None,
    current: Annotated[
        bool,
        typer.Option(
            "--current/--later",
            help="Whether the new key writes at once. --later gives it to every worker and client for reading first.",
        ),
    ] = True,
    use: Annotated[
        str | None, typer.Option(metavar="ID", help="Make no key; let the one of this id write from now on.")
    ] = None,
    json: options.Json = False,
) -> int:
    """Add a new data key to a key ring, or make a key ring with one."""
    from handfast.cli import encryption

    return encryption.rekey(file, id, current=current, use=use, as_json=json)


def codec(
    *,
    file: KeyFile,
    ui_origin: Annotated[
        str | None,
        typer.Option(metavar="ORIGIN", help="Of the web page that may ask from a browser, as http://localhost:8233."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="To listen on; elsewhere than on this machine only behind TLS.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8234,
    json: options.Json = False,
) -> int:
    """Decrypt payloads for Temporal's web page and command line.

    Whoever asks needs the token: that of HANDFAST_CODEC_TOKEN, or one that is made and shown at the start.
    """
    from handfast.cli import encryption

    return asyncio.run(encryption.codec(file, origin=ui_origin, host=host, port=port, as_json=json))
