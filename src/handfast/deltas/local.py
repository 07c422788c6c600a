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

__all__ = ["LocalDeltas", "forget_hub", "nearby_hub", "write_hub"]

SCHEME: Final = "handfast"
STATE_FILE: Final = "deltas.json"
ANSWER_S: Final = 2.0
"""How long an answer may take beside what it waits for."""
LINE_BYTES: Final = 64 * 1024 * 1024


class LocalDeltas:
    """Asks the hub at ``handfast://TOKEN@127.0.0.1:PORT``; one connection a question."""

    def __init__(self, url: str) -> None:
        """Name the hub; nothing is asked of it yet.

        Raises:
            DefinitionError: It is no such URL.
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
        """See `DeltaStream`: no connection outlives its question."""

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
    """Let processes of this folder find the hub that goes with a server; only the user's own may read it."""
    fresh = directory / f"{STATE_FILE}.{os.getpid()}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"pid": os.getpid(), "address": address, "url": url}, file)
    fresh.replace(directory / STATE_FILE)


def forget_hub(directory: Path) -> None:
    """Remove what this process has written."""
    with suppress(OSError, ValueError, AttributeError):
        if json.loads((directory / STATE_FILE).read_bytes()).get("pid") == os.getpid():
            (directory / STATE_FILE).unlink()


def nearby_hub(address: str) -> str | None:
    """The hub that goes with the server at *address*, if `handfast dev` runs both in this folder or above."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        try:
            state = json.loads((folder / DIRECTORY / STATE_FILE).read_bytes())
            if state["address"] == address and _is_alive(int(state["pid"])):
                return str(state["url"])
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
