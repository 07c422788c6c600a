"""Serve the codec endpoint until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from pathlib import Path
from typing import Final

from handfast.cli import exits
from handfast.cli.output import one_line, say, write_json
from handfast.encryption.codec_server import CodecServer
from handfast.encryption.keyring import Keyring

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
