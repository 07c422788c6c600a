"""Encrypt payloads before they leave the process: the codec, and the converter that moves texts of failures to it."""

from __future__ import annotations

import dataclasses
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Final, Self

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.client import Client
from temporalio.common import HeaderCodecBehavior
from temporalio.converter import (
    ActivitySerializationContext,
    DataConverter,
    FailureConverter,
    PayloadCodec,
    PayloadConverter,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)

from handfast.encryption.converter import ENCRYPTED, KEY, NAMESPACE, WORKFLOW, Watchful, tolerant, unread
from handfast.encryption.keyring import Keyring
from handfast.errors import KeyMissingError, PayloadUnreadableError, SealBrokenError
from handfast.payloads.base import Undecodable

__all__ = ["EncryptionCodec", "encrypted", "keyring_of", "protected"]

LARGEST_BYTES: Final = 32 * 1024 * 1024
"""Limit for a decompressed payload; the server takes none that large."""
WORTH_COMPRESSING: Final = 512
REPLAY: Final = "ReplayNamespace"
"""Namespace that the SDK's `Replayer` takes by default."""
CONCEALED: Final = "Encoded failure"
"""Message that Temporal's own tools use for a failure whose text is encoded."""
_SCHEDULED: Final = re.compile(r"-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
"""Time that a schedule appends to the workflow id of its action."""
_RAW, _ZLIB = b"\0", b"\1"


class EncryptionCodec(PayloadCodec, WithSerializationContext):
    """AES-256-GCM with a random nonce for each payload, which is bound to its namespace and workflow id.

    Decoding never raises: an unreadable payload becomes a sentinel, which `tolerant` reads as an `Undecodable`.
    """

    def __init__(self, keyring: Keyring, inner: PayloadCodec | None = None) -> None:
        """Encrypt with the key ring.

        Args:
            keyring: The keys.
            inner: A codec of the user's: it encodes before this one, and decodes after it.
        """
        self.keyring = keyring
        self._inner = inner
        self._context: SerializationContext | None = None

    def with_context(self, context: SerializationContext) -> Self:
        """Return the codec of one workflow, and of its activities."""
        inner: Any = self._inner
        bound = type(self)(self.keyring, inner.with_context(context) if _takes_context(inner) else inner)
        bound._context = context
        return bound

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """See base class."""
        inside = list(payloads) if self._inner is None else await self._inner.encode(payloads)
        return [self._sealed(each) for each in inside]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """See base class."""
        opened = [self._opened(each) for each in payloads]
        if self._inner is not None:
            return await self._decoded_inside(self._inner, opened)
        return [each if isinstance(each, Payload) else _sentinel(each) for each in opened]

    async def _decoded_inside(self, inner: PayloadCodec, opened: Sequence[Payload | Undecodable]) -> list[Payload]:
        """Decode the opened payloads with the user's codec, all in one call where all opened: it may join several."""
        readable = [each for each in opened if isinstance(each, Payload)]
        try:
            if len(readable) == len(opened):
                return list(await inner.decode(readable))
            each = iter([(await inner.decode([payload]))[0] for payload in readable])
        except Exception as error:  # noqa: BLE001 - a codec of the user's
            return [unread(f"the codec inside the encryption failed ({type(error).__name__})") for _ in opened]
        return [next(each) if isinstance(found, Payload) else _sentinel(found) for found in opened]

    def _sealed(self, payload: Payload) -> Payload:
        data = payload.SerializeToString()
        packed = zlib.compress(data, 1) if WORTH_COMPRESSING < len(data) <= LARGEST_BYTES else data
        plain = _ZLIB + packed if len(packed) < len(data) else _RAW + data
        bound = _bound_by(self._context)
        metadata = {"encoding": ENCRYPTED}
        if bound is not None:
            metadata |= {NAMESPACE: bound[0].encode(), WORKFLOW: bound[1].encode()}
        key, sealed = self.keyring.seal(plain, _associated(bound))
        return Payload(metadata={**metadata, KEY: key.encode()}, data=sealed)

    def _opened(self, payload: Payload) -> Payload | Undecodable:
        if payload.metadata.get("encoding") != ENCRYPTED:
            if self.keyring.accept_plaintext:
                return payload
            return Undecodable("it is not encrypted, and encryption is demanded here", True)
        try:
            key = payload.metadata[KEY].decode()
            bound = _bound_to(payload)
            if not self._belongs(bound):
                return Undecodable("it was encrypted for another workflow", True)
            return _unpacked(self.keyring.open(key, payload.data, _associated(bound)))
        except KeyMissingError as error:
            problem = f"it is encrypted with the key {error.key!r}, which is not in this key ring"
            return Undecodable(problem, True, error.key)
        except (SealBrokenError, DecodeError, UnicodeDecodeError, ValueError, KeyError, zlib.error):
            return Undecodable("it was changed after it was encrypted", True)

    def _belongs(self, bound: tuple[str, str] | None) -> bool:
        """Return True where a payload may be read here."""
        # The SDK gives headers, a schedule's own memo and Nexus operations no workflow, so those are bound to none. A
        # reader without context, as the codec endpoint is, believes what the payload says; the seal proves it.
        here = _bound_by(self._context)
        if bound is None or here is None or bound == here:
            return True
        # A schedule's argument is bound to the id of its action, without the time.
        if bound[0] != here[0] != REPLAY or not here[1].startswith(bound[1]):
            return False
        added = here[1][len(bound[1]) :]
        return not added or _SCHEDULED.fullmatch(added) is not None


def encrypted(converter: DataConverter | None, keyring: Keyring) -> DataConverter:
    """Extend *converter* so that all its payloads, and the texts of failures, are encrypted.

    Its own codec stays: it encodes first. A client needs ``header_codec_behavior=HeaderCodecBehavior.CODEC`` beside it
    for headers; `HandfastPlugin` and `Handfast.connect` see to that.
    """
    base = with_codec(tolerant(converter), keyring)
    payloads = base.payload_converter_class
    if issubclass(payloads, Watchful):
        return base
    return dataclasses.replace(
        base, payload_converter_class=type(f"Watchful{payloads.__name__}", (Watchful, payloads), {})
    )


def with_codec(converter: DataConverter, keyring: Keyring) -> DataConverter:
    """Extend *converter* so that it encrypts; what it cannot decrypt, it does not know."""
    if isinstance(converter.payload_codec, EncryptionCodec):
        return converter
    failures = converter.failure_converter_class
    return dataclasses.replace(
        converter,
        payload_codec=EncryptionCodec(keyring, converter.payload_codec),
        failure_converter_class=type(f"Concealing{failures.__name__}", (_Conceals, failures), {}),
    )


def protected(
    converter: DataConverter, keyring: Keyring | None, headers: HeaderCodecBehavior = HeaderCodecBehavior.NO_CODEC
) -> tuple[DataConverter, HeaderCodecBehavior]:
    """Return both options of a client that encrypts with the key ring; without one they stay as they are."""
    return (converter, headers) if keyring is None else (encrypted(converter, keyring), HeaderCodecBehavior.CODEC)


def keyring_of(client: Client) -> Keyring | None:
    """Return the key ring that a client encrypts with; None where it does not."""
    codec = client.data_converter.payload_codec
    return codec.keyring if isinstance(codec, EncryptionCodec) else None


class _Conceals(FailureConverter):
    """Moves the texts of failures to where the codec encrypts them."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        super().to_failure(exception, payload_converter, failure)  # type: ignore[safe-super]
        if isinstance(exception, PayloadUnreadableError):
            return  # it names the missing key, for people who cannot decrypt anything
        for each in _chain(failure):
            if each.message == CONCEALED and each.HasField("encoded_attributes") and not each.stack_trace:
                continue
            texts = {"message": each.message, "stack_trace": each.stack_trace}
            each.encoded_attributes.CopyFrom(payload_converter.to_payloads([texts])[0])
            each.message, each.stack_trace = CONCEALED, ""

    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        """See base class.

        Raises:
            PayloadUnreadableError: The text comes from the workflow's own activity or child, and cannot be decrypted.
        """
        readable = Failure()
        readable.CopyFrom(failure)
        for each in _chain(readable):
            if not each.HasField("encoded_attributes"):
                continue
            [texts] = payload_converter.from_payloads([each.encoded_attributes])
            if isinstance(texts, Undecodable):
                each.message = f"{each.message} ({texts.problem})"
                each.ClearField("encoded_attributes")
        return super().from_failure(readable, payload_converter)  # type: ignore[safe-super]


def _takes_context(codec: object) -> bool:
    return isinstance(codec, WithSerializationContext)


def _chain(failure: Failure) -> Iterator[Failure]:
    yield failure
    while failure.HasField("cause"):
        failure = failure.cause
        yield failure


def _bound_by(context: SerializationContext | None) -> tuple[str, str] | None:
    match context:
        case (
            WorkflowSerializationContext(namespace, id)
            | ActivitySerializationContext(namespace=namespace, workflow_id=str(id))
        ):
            return namespace, id
    return None


def _bound_to(payload: Payload) -> tuple[str, str] | None:
    """Return the namespace and workflow id that a payload claims; the seal holds only if the claim is true."""
    if WORKFLOW not in payload.metadata:
        return None
    return payload.metadata[NAMESPACE].decode(), payload.metadata[WORKFLOW].decode()


def _associated(bound: tuple[str, str] | None) -> bytes:
    return json.dumps([ENCRYPTED.decode(), *(bound or ())]).encode()


def _unpacked(plain: bytes) -> Payload:
    if plain[:1] == _RAW:
        return Payload.FromString(plain[1:])
    unpacking = zlib.decompressobj()
    data = unpacking.decompress(plain[1:], LARGEST_BYTES)
    if not unpacking.eof:
        raise ValueError("it is larger than anything that was ever written")
    return Payload.FromString(data)


def _sentinel(found: Any) -> Payload:
    return unread(found.problem, found.key)
