"""Deltas over a loopback socket: between the processes of one machine, as `handfast dev` serves them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from handfast.errors import DefinitionError
from handfast.server.state import DIRECTORY
from handfast.storage.artifacts import is_on_loopback
from handfast.storage.private_files import read_own, write_private

__all__ = ["LocalDeltas", "forget_hub", "nearby_hub", "write_hub"]

SCHEME: Final = "handfast"
STATE_FILE: Final = "deltas.json"
ANSWER_S: Final = 2.0
"""Limit for an answer, beside the time that the question asks to wait."""
LINE_BYTES: Final = 64 * 1024 * 1024


class LocalDeltas:
    """A client of the hub at ``handfast://TOKEN@127.0.0.1:PORT``, with one connection for each question."""

    def __init__(self, url: str) -> None:
        """Take the address, without connecting.

        Raises:
            DefinitionError: *url* is no address of a hub.
        """
        try:
            parts = urlsplit(url)
            self._host, self._port, self._token = parts.hostname, parts.port, parts.username
        except ValueError:
            self._token = None
        if not self._token or not self._host or not self._port:
            raise DefinitionError("deltas", "it is no address of the deltas of `handfast dev`")

    async def publish(self, run: str, entry: bytes) -> None:
        """See `DeltaStream`."""
        await self._ask({"publish": run, "entry": base64.b64encode(entry).decode()}, ANSWER_S)

    async def read(self, run: str, after: str | None, wait_s: float) -> Sequence[tuple[str, bytes]]:
        """See `DeltaStream`."""
        found = await self._ask({"read": run, "after": after, "wait_s": wait_s}, wait_s + ANSWER_S)
        return [(str(position), base64.b64decode(entry)) for position, entry in found["entries"]]

    async def close(self) -> None:
        """See `DeltaStream`. No connection outlives its question."""

    async def _ask(self, question: dict[str, Any], within_s: float) -> Any:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(self._host, self._port, limit=LINE_BYTES)
            try:
                writer.write(json.dumps({**question, "token": self._token}).encode() + b"\n")
                await writer.drain()
                answer = json.loads(await reader.readline())
            finally:
                writer.close()
        if not isinstance(answer, dict) or not answer.get("ok"):
            raise ConnectionError("the hub of deltas refuses this")
        return answer


def write_hub(directory: Path, address: str, url: str) -> None:
    """Let processes in this folder find the hub of a server; the file is for the user's own account."""
    write_private(directory / STATE_FILE, json.dumps({"pid": os.getpid(), "address": address, "url": url}))


def forget_hub(directory: Path) -> None:
    """Remove the file, where this process has written it."""
    with suppress(OSError, ValueError, AttributeError):
        if json.loads((directory / STATE_FILE).read_bytes()).get("pid") == os.getpid():
            (directory / STATE_FILE).unlink()


def nearby_hub(address: str) -> str | None:
    """Return the hub of the server at *address*, if `handfast dev` runs both in this folder or above.

    A file of another account's is left alone, as that of the server is: it names where everybody's words would go.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        try:
            state = json.loads(read_own(folder / DIRECTORY / STATE_FILE) or b"")
            url = str(state["url"])
            if (
                state["address"] == address
                and _is_alive(int(state["pid"]))
                and is_on_loopback(f"{urlsplit(url).hostname}:0")
            ):
                return url
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
