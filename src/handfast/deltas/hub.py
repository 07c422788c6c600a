"""Serves a stream of deltas to the other processes of this machine, on a loopback socket."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Self

from handfast._socket_server import SocketServer
from handfast.deltas.local import SCHEME
from handfast.deltas.stream import DeltaStream, InProcessDeltas

__all__ = ["DeltaHub"]

QUESTION_BYTES: Final = 8 * 1024 * 1024
QUESTION_S: Final = 10.0
ANSWER_BYTES: Final = 1024 * 1024
"""Approximate limit for the entries of one answer."""
LONGEST_WAIT_S: Final = 60.0


class DeltaHub:
    """An async context manager. Its URL holds a secret, and allows to publish and read.

    Attributes:
        url: Address of the hub, for ``deltas=…`` and ``HANDFAST_DELTAS``.
    """

    def __init__(self, stream: DeltaStream | None = None) -> None:
        """Serve *stream*; one of its own by default."""
        self._stream: DeltaStream = stream or InProcessDeltas()
        self._token = secrets.token_urlsafe(24)
        self._server = SocketServer(self._serve, line_bytes=QUESTION_BYTES)

    async def __aenter__(self) -> Self:
        """Listen on a free port of the loopback interface."""
        _, port = await self._server.open("127.0.0.1")
        self.url = f"{SCHEME}://{self._token}@127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        await self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(QUESTION_S):
                question = json.loads(await reader.readline())
            writer.write(json.dumps(await self._answer(question)).encode() + b"\n")
            await writer.drain()
        except (ConnectionError, TimeoutError, ValueError, TypeError, KeyError):
            pass  # the client left, or speaks something else: a closed connection is the answer

    async def _answer(self, question: Any) -> dict[str, Any]:
        if not secrets.compare_digest(str(question["token"]).encode(), self._token.encode()):
            return {"ok": False}
        if "publish" in question:
            await self._stream.publish(str(question["publish"]), base64.b64decode(question["entry"]))
            return {"ok": True}
        wait_s = min(float(question["wait_s"]), LONGEST_WAIT_S)
        after = question["after"]
        found = await self._stream.read(str(question["read"]), None if after is None else str(after), wait_s)
        return {"ok": True, "entries": list(_page(found))}


def _page(found: Sequence[tuple[str, bytes]]) -> Iterator[tuple[str, str]]:
    """Yield the entries that fit into one answer, at least one: the next question gets the rest."""
    room = ANSWER_BYTES
    for position, entry in found:
        if room < 0:
            return
        room -= len(entry)
        yield position, base64.b64encode(entry).decode()
