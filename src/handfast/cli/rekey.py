"""Change a key ring's file, whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from handfast.cli import exits
from handfast.cli.output import one_line, say, write_json
from handfast.encryption.keyring import Keyring, key_file
from handfast.errors import DefinitionError


def rekey(file: Path, id: str | None, *, current: bool, use: str | None, as_json: bool) -> int:
    """Add a key, or make another one current. Only ids are shown.

    Raises:
        DefinitionError: The file holds no key ring, or cannot take this.
        InputError: The file cannot be written.
    """
    if use is not None:
        held = _using(file, use)
    else:
        held = key_file(file, id or datetime.now(UTC).strftime("%Y-%m-%d"), current=current)
    try:
        _write(file, held)
    except OSError as error:
        raise exits.InputError(f"{file} cannot be written: {error.strerror}") from error
    ring = Keyring.from_file(file)
    if as_json:
        write_json({"file": str(file), "keys": ring.ids, "current": ring.current})
    else:
        say(one_line(f"{file}: {', '.join(ring.ids)}; {ring.current} writes"))
    return exits.OK


def _using(file: Path, id: str) -> dict[str, Any]:
    if id not in Keyring.from_file(file).ids:
        raise DefinitionError("Keyring", f"{file} has no key {id!r}; leave out --use to make one")
    held: dict[str, Any] = json.loads(file.read_bytes())
    return {**held, "current": id}


def _write(file: Path, held: dict[str, Any]) -> None:
    """Write the file for its owner alone, in one step: with half a file every key would be lost."""
    descriptor, part = tempfile.mkstemp(prefix=".", dir=file.parent)  # for its owner alone
    try:
        with os.fdopen(descriptor, "w") as opened:
            json.dump(held, opened, indent=2)
            opened.flush()
            os.fsync(opened.fileno())
        Path(part).replace(file)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
