"""`export`, `erase`: what is kept of a run."""

# ruff: noqa: PLC0415 a command imports its code when it runs: see the package

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from handfast.cli import options

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
ArchiveOption = Annotated[
    str | None,
    typer.Option(metavar="PLACE", envvar="HANDFAST_ARCHIVE", help="The workers' archive: a folder or a URL."),
]
ArtifactsOption = Annotated[
    str | None,
    typer.Option(
        metavar="PLACE", envvar="HANDFAST_ARTIFACTS", help="Where they keep large outputs: a folder or a URL."
    ),
]


def export(
    *,
    run: RunArgument,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write there; by default to stdout.")
    ] = None,
    archive: ArchiveOption = None,
    artifacts: ArtifactsOption = None,
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
) -> int:
    """Write a run's events and conversation as lines of JSON, from the server or from the archive."""
    from handfast.cli import records

    where = options.Where(address, namespace, profile)
    return asyncio.run(records.export(where, records.Kept(archive, artifacts), run, output))


def erase(
    *,
    run: RunArgument,
    terminate: Annotated[bool, typer.Option("--terminate", help="End it at once if it goes on.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    archive: ArchiveOption = None,
    artifacts: ArtifactsOption = None,
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
    json: options.Json = False,
) -> int:
    """Erase all that is kept of a run: histories, large outputs, archive. It cannot be undone."""
    from handfast.cli import records

    where = options.Where(address, namespace, profile)
    kept = records.Kept(archive, artifacts)
    return asyncio.run(records.erase(where, kept, run, terminate=terminate, yes=yes, as_json=json))
