"""Fault row XH10: the codec endpoint decrypts for whoever has the token, and for nobody else."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from hypothesis import HealthCheck, given, settings, strategies as st
from temporalio.converter import WorkflowSerializationContext

from handfast.encryption.codec import encrypted
from handfast.encryption.codec_server import BODY_BYTES, OPEN, CodecServer
from support.clear import ring

TOKEN = "a-token-of-many-characters"
ORIGIN = "http://localhost:8233"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest_asyncio.fixture(loop_scope="session")
async def codec() -> AsyncIterator[CodecServer]:
    """A codec endpoint with the keys k1 and k0."""
    async with CodecServer(ring("k1", "k0"), TOKEN, origin=ORIGIN) as serving:
        yield serving


async def ask(
    codec: CodecServer, path: str, body: bytes = b"", headers: dict[str, str] | None = None, method: str = "POST"
) -> tuple[int, dict[str, str], Any]:
    """Send one request as bytes; return status, headers and the JSON that came back."""
    lines = {"Host": "x", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    answer = await send(codec, f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
    top, _, data = answer.partition(b"\r\n\r\n")
    status, *rest = top.decode().split("\r\n")
    found = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
    return int(status.split()[1]), found, json.loads(data) if data else None


async def send(codec: CodecServer, data: bytes) -> bytes:
    """Send bytes, and return everything that comes back."""
    host, _, port = codec.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    try:
        async with asyncio.timeout(30):
            await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def sealed(key: str = "k1") -> dict[str, Any]:
    """A payload of workflow w1, as Temporal's page sends it."""
    converter = encrypted(None, ring(key)).with_context(
        WorkflowSerializationContext(namespace="default", workflow_id="w1")
    )
    [payload] = await converter.encode([{"secret": "Smith"}])
    metadata = {name: base64.b64encode(value).decode() for name, value in payload.metadata.items()}
    return {"metadata": metadata, "data": base64.b64encode(payload.data).decode()}


def shown(payload: dict[str, Any]) -> Any:
    """What the page would show."""
    return json.loads(base64.b64decode(payload["data"]))


async def test_the_page_reads_payloads_with_the_token(codec: CodecServer) -> None:
    """XH10: with the token, as a header or in the path, payloads of every key of the ring are decrypted without a
    workflow id; what cannot be, and another namespace's, comes back as it was."""
    plain = {
        "metadata": {"encoding": base64.b64encode(b"json/plain").decode()},
        "data": base64.b64encode(b"5").decode(),
    }
    given = [await sealed(), await sealed("k0"), await sealed("k9"), plain]
    body = json.dumps({"payloads": given}).encode()
    for path, headers in (("/decode", BEARER), (f"/{TOKEN}/decode", {})):
        status, _, answer = await ask(codec, path, body, {**headers, "X-Namespace": "default"})
        assert status == 200
        assert [shown(each) for each in answer["payloads"][:2]] == [{"secret": "Smith"}] * 2
        assert answer["payloads"][2:] == given[2:]
    _, _, other = await ask(codec, "/decode", body, {**BEARER, "X-Namespace": "another"})
    assert other["payloads"] == given


async def test_everything_but_the_allow_list_needs_the_token(codec: CodecServer) -> None:
    """XH10: without the token, with a wrong one or a part of it, every path and method is 401; only health is open."""
    assert {("GET", "/health")} == OPEN
    assert (await ask(codec, "/health", method="GET"))[0] == 200
    body = json.dumps({"payloads": [await sealed()]}).encode()
    for headers in (
        {},
        {"Authorization": "Bearer x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": TOKEN},
    ):
        for path in ("/decode", "/encode", "/", "/health", "/x/decode", f"/{TOKEN}", "//decode", "/decode/../health"):
            for method in ("POST", "GET", "PUT"):
                if (method, path) not in OPEN:
                    status, _, answer = await ask(codec, path, body, headers, method)
                    assert (status, answer) == (401, {"error": "token_required"})
    assert (await ask(codec, "/encode", body, BEARER))[0] == 404
    assert (await ask(codec, "/decode", b"", BEARER, "GET"))[0] == 405


async def test_only_the_pages_own_origin_may_ask_from_a_browser(codec: CodecServer) -> None:
    """XH10: the preflight of the given origin is answered, with the page's headers; of another it is not."""
    _, allowed, _ = await ask(codec, "/decode", b"", {"Origin": ORIGIN}, "OPTIONS")
    assert allowed["access-control-allow-origin"] == ORIGIN
    assert "x-namespace" in allowed["access-control-allow-headers"]
    for origin in ("http://evil.example", "null", f"{ORIGIN}.evil.example"):
        _, refused, _ = await ask(codec, "/decode", b"", {"Origin": origin}, "OPTIONS")
        assert not [name for name in refused if name.startswith("access-control")]


async def test_a_large_body_is_refused(codec: CodecServer) -> None:
    """XH10: what is too large is not read to its end."""
    status, _, _ = await ask(codec, "/decode", b" " * (BODY_BYTES + 1), BEARER)
    assert status == 413


NAMES = st.sampled_from(["payloads", "metadata", "data"])
BODIES = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["payloads", "metadata", "data"]), inner)
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
    st.just(b'{"payloads": [{"metadata": {"encoding": "YmluYXJ5L2hvbGRmYXN0LWVuY3J5cHRlZA=="}, "data": "AAAA"}]}'),
    st.just(b"[" * 100_000),
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["POST", "GET", "OPTIONS", "BREW"]),
    st.sampled_from(["/decode", f"/{TOKEN}/decode", "/health", "*", "/%00"]),
    BODIES,
    st.booleans(),
)
async def test_nothing_makes_it_fail(codec: CodecServer, method: str, path: str, body: bytes, token: bool) -> None:
    """XH10: whatever is sent, the answer is no server error."""
    status, _, _ = await ask(codec, path, body, BEARER if token else {}, method)
    assert 200 <= status < 500


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
async def test_bytes_that_are_no_http_end_the_connection(codec: CodecServer, data: bytes) -> None:
    """XH10: what is no HTTP gets a client error, or nothing."""
    answer = await send(codec, data + b"\r\n\r\n")
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
