"""The codec endpoint for Temporal's web page and command line: decrypts payloads for requests with the token."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

import h11
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from temporalio.api.common.v1 import Payload, Payloads

from handfast._socket_server import SocketServer
from handfast.encryption.codec import EncryptionCodec
from handfast.encryption.converter import ENCRYPTED, NAMESPACE, read_unread
from handfast.encryption.keyring import Keyring

__all__ = ["CodecServer"]

BODY_BYTES: Final = 8 * 1024 * 1024
HEAD_BYTES: Final = 64 * 1024
MOST_PAYLOADS: Final = 2000
REQUEST_S: Final = 20.0
MOST_CONNECTIONS: Final = 64
OPEN: Final = frozenset({("GET", "/health")})
"""Requests without a token, beside the preflight requests of browsers (OPTIONS)."""
_READ: Final = 64 * 1024


class _RefusedError(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class CodecServer:
    """An async context manager: answers ``POST /decode`` as Temporal's codec servers do, one request a connection.

    The token comes as ``Authorization: Bearer …``, or as the first part of the path (``/TOKEN/decode``), since the web
    page can send no header of one's own. Payloads that cannot be decrypted come back as they are. The endpoint encrypts
    nothing: a payload from a page would be bound to no workflow.

    Attributes:
        url: Address of the endpoint.
    """

    def __init__(
        self, keyring: Keyring, token: str, *, origin: str | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        """Describe the server.

        Args:
            keyring: The keys.
            token: Allows to read everything.
            origin: Origin of the web page that may send requests from a browser, as ``http://localhost:8233``.
            host: Interface to listen on.
            port: 0 takes any free one.
        """
        self._codec = EncryptionCodec(keyring)
        self._token = token.encode()
        self._origin = origin
        self._place = (host, port)
        self._server = SocketServer(self._serve, most=MOST_CONNECTIONS)
        self.url = ""

    async def __aenter__(self) -> Self:
        """Listen."""
        host, port = await self._server.open(*self._place)
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        await self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        try:
            async with asyncio.timeout(REQUEST_S):
                await self._answer(http, reader, writer)
        except (ConnectionError, TimeoutError, h11.LocalProtocolError):
            pass  # the client left, or takes too long: the connection is closed

    async def _answer(self, http: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        headers: dict[str, str] = {}
        try:
            head, body = await self._read(http, reader)
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
            status, answer = await self._routed(head.method.decode(), _path(head), headers, body)
        except h11.RemoteProtocolError as error:
            status, answer = min(error.error_status_hint, 499), {"error": "malformed_request"}
        except _RefusedError as refused:
            status, answer = refused.status, {"error": refused.code}
        data = b"" if status == 204 else json.dumps(answer).encode()
        answered = {"content-length": str(len(data)), "connection": "close", "cache-control": "no-store"}
        if data:
            answered["content-type"] = "application/json"
        response = h11.Response(status_code=status, headers=list((answered | self._cors(headers)).items()))
        for event in (response, h11.Data(data=data), h11.EndOfMessage()):
            writer.write(http.send(event) or b"")
        await writer.drain()

    async def _read(self, http: h11.Connection, reader: asyncio.StreamReader) -> tuple[h11.Request, bytes]:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(_READ))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > BODY_BYTES:
                    raise _RefusedError(413, "body_too_large")
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return head, bytes(body)
            else:
                raise ConnectionError

    async def _routed(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, object]]:
        if (method, path) in OPEN:
            return 200, {"ok": True}
        if method == "OPTIONS":
            return 204, {}
        path = self._admitted(path, headers)
        if path != "/decode":
            raise _RefusedError(404, "not_found")
        if method != "POST":
            raise _RefusedError(405, "method_not_allowed")
        return 200, await self._decoded(_payloads(body), headers.get("x-namespace"))

    def _admitted(self, path: str, headers: Mapping[str, str]) -> str:
        """Check the token, and return the path without it."""
        scheme, _, sent = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(sent.strip()):
            return path
        first, slash, rest = path.removeprefix("/").partition("/")
        if slash and self._is_token(first):
            return f"/{rest}"
        raise _RefusedError(401, "token_required")

    def _is_token(self, sent: str) -> bool:
        return secrets.compare_digest(sent.encode(), self._token)

    async def _decoded(self, payloads: Payloads, namespace: str | None) -> dict[str, object]:
        found = [await self._one(each, namespace) for each in payloads.payloads]
        return {"payloads": [MessageToDict(each) for each in found]}

    async def _one(self, payload: Payload, namespace: str | None) -> Payload:
        bound = payload.metadata.get(NAMESPACE)
        other = namespace is not None and bound is not None and bound.decode(errors="replace") != namespace
        if payload.metadata.get("encoding") != ENCRYPTED or other:
            return payload
        [opened] = await self._codec.decode([payload])
        return payload if read_unread(opened) is not None else opened

    def _cors(self, headers: Mapping[str, str]) -> dict[str, str]:
        if self._origin is None or headers.get("origin") != self._origin:
            return {}
        return {
            "access-control-allow-origin": self._origin,
            "access-control-allow-credentials": "true",
            "access-control-allow-headers": "authorization, content-type, x-namespace",
            "access-control-allow-methods": "POST, OPTIONS",
            "vary": "origin",
        }


def _path(head: h11.Request) -> str:
    return head.target.decode("latin-1").partition("?")[0]


def _payloads(body: bytes) -> Payloads:
    try:
        given = json.loads(body)
        payloads = ParseDict(given, Payloads(), ignore_unknown_fields=True)
    except (ValueError, ParseError, RecursionError, TypeError, AttributeError):
        raise _RefusedError(400, "not_payloads") from None
    if len(payloads.payloads) > MOST_PAYLOADS:
        raise _RefusedError(413, "too_many_payloads")
    return payloads
