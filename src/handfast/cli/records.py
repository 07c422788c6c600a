"""Export a run into a file, and erase a run."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from handfast.cli import exits
from handfast.cli.options import Where
from handfast.cli.output import one_line, say, warn, write_json
from handfast.cli.place import handfast
from handfast.client.client import Handfast


@dataclass(frozen=True)
class Kept:
    """The workers' stores outside the server: a path or a URL each."""

    archive: str | None
    artifacts: str | None


async def export(where: Where, kept: Kept, run: str, file: Path | None) -> int:
    """Write a run as lines of JSON, to *file* or to stdout.

    Raises:
        InputError: The file cannot be written.
        RunNotFoundError: There is no such run, here or in the archive.
    """
    hf = await handfast(where, archive=kept.archive, artifacts=kept.artifacts)
    if file is None:
        async for line in hf.export(run):
            say(json.dumps(line))
        return exits.OK
    try:
        count = await _into(hf, run, file)
    except OSError as error:
        raise exits.InputError(f"{file} cannot be written: {error.strerror}") from None
    say(one_line(f"{run}: {count} lines written to {file}"))
    return exits.OK


async def _into(hf: Handfast, run: str, file: Path) -> int:
    """Write the whole file or none."""
    folder = file.parent
    descriptor, part = await asyncio.to_thread(tempfile.mkstemp, dir=folder, prefix=".")
    count = 0
    try:
        with os.fdopen(descriptor, "w") as lines:
            async for line in hf.export(run):
                lines.write(f"{json.dumps(line)}\n")
                count += 1
        os.replace(part, file)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)
    return count


async def erase(where: Where, kept: Kept, run: str, *, terminate: bool, yes: bool, as_json: bool) -> int:
    """Erase a run, after a question unless *yes*.

    Raises:
        InputError: Nobody is there to be asked.
        RunGoesOnError: It goes on, and *terminate* is False.
    """
    if not yes and not _agreed(run):
        warn("nothing was erased")
        return exits.REFUSED
    hf = await handfast(where, archive=kept.archive, artifacts=kept.artifacts)
    erased = await hf.erase(run, terminate=terminate)
    if as_json:
        write_json(erased)
    elif erased.nothing:
        say(one_line(f"{run}: nothing of it is left"))
    else:
        counts = (len(erased.histories), len(erased.artifacts), len(erased.archived))
        say(one_line(f"{run}: erased {counts[0]} histories, {counts[1]} artifacts, {counts[2]} files of the archive"))
    for name, place in (("artifacts", hf.stores.artifacts), ("archive", hf.stores.archive)):
        if place is None and not as_json:
            warn(f"no place for {name} is known here (--{name}); what a worker keeps there was not erased")
    return exits.OK


def _agreed(run: str) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise exits.InputError("erasing cannot be undone; say --yes where nobody can be asked")
    sys.stderr.write(one_line(f"Erase {run} for good, with its history, artifacts and archive? [y/N]") + " ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
