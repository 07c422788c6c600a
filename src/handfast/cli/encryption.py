"""Change a key ring, whole or not at all, and serve the codec endpoint that reads with it."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from handfast.cli import exits
from handfast.cli.output import one_line, say, write_json
from handfast.encryption.codec_server import CodecServer
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


TOKEN: Final = "HANDFAST_CODEC_TOKEN"
SHORTEST_TOKEN: Final = 16


async def codec(file: Path, *, origin: str | None, host: str, port: int, as_json: bool) -> int:
    """Serve payloads decrypted. A token that is made here is shown once: whoever starts this has the keys anyway.

    Raises:
        DefinitionError: The file holds no key ring.
        InputError: The token is too short, or the port is taken.
    """
    keyring = Keyring.from_file(file)
    given = os.environ.get(TOKEN)
    if given is not None and len(given) < SHORTEST_TOKEN:
        raise exits.InputError(f"{TOKEN} must have {SHORTEST_TOKEN} characters or more")
    token = given or secrets.token_urlsafe(24)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with CodecServer(keyring, token, origin=origin, host=host, port=port) as server:
            made = {} if given is not None else {"token": token}
            if as_json:
                write_json({"ready": True, "url": server.url, **made})
            else:
                shown = f"; token {token}" if made else ""
                say(one_line(f"ready: codec endpoint {server.url}{shown}"))
                say(one_line(f"In Temporal's page: {server.url}/TOKEN as the remote codec endpoint"))
            await stop.wait()
    except OSError as error:
        raise exits.InputError(f"{host}:{port} cannot be listened on: {error.strerror}") from error
    return exits.OK
