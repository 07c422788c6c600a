"""A small encrypting codec, as users have one: without its key nobody reads a payload."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ActivitySerializationContext,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)

ENCODING = b"binary/sealed"


class SealingCodec(PayloadCodec):
    """Seals every payload with a key of 32 bytes: a keystream of SHA-256, and a tag that a wrong key does not fit."""

    def __init__(self, key: bytes) -> None:
        """Keep the key."""
        self._key = key

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Seal."""
        return [
            Payload(metadata={"encoding": ENCODING}, data=self._seal(each.SerializeToString())) for each in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Open; a payload that nobody sealed stays as it is."""
        return [
            Payload.FromString(self._open(each.data)) if each.metadata.get("encoding") == ENCODING else each
            for each in payloads
        ]

    def _seal(self, data: bytes) -> bytes:
        nonce = os.urandom(16)
        sealed = self._mixed(nonce, data)
        return nonce + hmac.digest(self._key, nonce + sealed, "sha256") + sealed

    def _open(self, data: bytes) -> bytes:
        nonce, tag, sealed = data[:16], data[16:48], data[48:]
        if not hmac.compare_digest(tag, hmac.digest(self._key, nonce + sealed, "sha256")):
            raise ValueError("the key does not fit")
        return self._mixed(nonce, sealed)

    def _mixed(self, nonce: bytes, data: bytes) -> bytes:
        blocks = range(0, len(data), 32)
        stream = b"".join(hashlib.sha256(self._key + nonce + at.to_bytes(8, "big")).digest() for at in blocks)
        return bytes(left ^ right for left, right in zip(data, stream, strict=False))


class KeyedCodec(SealingCodec, WithSerializationContext):
    """Seals what belongs to a workflow with a key of its own, and nothing that belongs to none."""

    def __init__(self, key: bytes, workflow_id: str | None = None) -> None:
        """Derive the key of one workflow."""
        super().__init__(hashlib.sha256(key + (workflow_id or "").encode()).digest())
        self._root = key
        self._workflow_id = workflow_id

    def with_context(self, context: SerializationContext) -> KeyedCodec:
        """The codec of one workflow and its activities."""
        assert isinstance(context, WorkflowSerializationContext | ActivitySerializationContext)
        return KeyedCodec(self._root, context.workflow_id)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Seal."""
        return await super().encode(payloads) if self._workflow_id else list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Open."""
        if self._workflow_id is None and any(each.metadata.get("encoding") == ENCODING for each in payloads):
            raise ValueError("nobody said whose payload it is")
        return await super().decode(payloads)
