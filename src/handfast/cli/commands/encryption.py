"""`codec` and `rekey`: what reads encrypted runs, and their keys."""

# ruff: noqa: PLC0415 a command imports its code when it runs: see the package

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from handfast.cli import options

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
    from handfast.cli import rekey

    return rekey.rekey(file, id, current=current, use=use, as_json=json)


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
    from handfast.cli import codec as serving

    return asyncio.run(serving.codec(file, origin=ui_origin, host=host, port=port, as_json=json))
