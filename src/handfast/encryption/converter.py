"""Reads payloads without raising: a sentinel stands for one that is unreadable. Also the reasons of cancellations."""

from __future__ import annotations

import base64
import binascii
import copy
import dataclasses
import os
from collections.abc import Sequence
from typing import Any, Final, Self

from google.protobuf.message import DecodeError
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.converter import (
    ActivitySerializationContext,
    DataConverter,
    PayloadConverter,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)

from handfast.errors import ConverterIncompatibleError, PayloadUnreadableError
from handfast.payloads.base import Undecodable

ENCRYPTED: Final = b"binary/handfast-encrypted"
"""Encoding of our encrypted payloads."""
KEY: Final = "handfast-key"
NAMESPACE: Final = "handfast-namespace"
WORKFLOW: Final = "handfast-workflow"

_PROBE: dict[str, Any] = {"handfast": [1, True, None, "x"]}
_ENCODED: Final = "handfast-encoded:"
_UNREAD: Final = b"binary/null"
"""Other converters read a sentinel as None. Interceptors read headers with converters of their own, and one that raised
there would fail the workflow task for good."""
_OURS: Final = os.urandom(16)
"""Known to this process alone, so that nobody can send a sentinel."""


def unread(problem: str, key: str | None = None) -> Payload:
    """Make the sentinel that a codec returns instead of raising: a payload that says why another one is unreadable."""
    metadata = {"encoding": _UNREAD, "ours": _OURS, "problem": problem.encode()}
    if key is not None:
        metadata["key"] = key.encode()
    return Payload(metadata=metadata)


def read_unread(payload: Payload) -> Undecodable | None:
    """Return the problem of a sentinel or of a payload that is still encrypted; None for every other payload."""
    encoding = payload.metadata.get("encoding")
    if encoding == ENCRYPTED:
        key = payload.metadata.get(KEY, b"?").decode(errors="replace")[:64]
        return Undecodable(f"it is encrypted with the key {key!r}, and this process has no key ring", True, key)
    if encoding != _UNREAD or payload.metadata.get("ours") != _OURS:
        return None
    missing = payload.metadata.get("key")
    problem = payload.metadata["problem"].decode()
    return Undecodable(problem, True, None if missing is None else missing.decode())


def tolerant(converter: DataConverter | None) -> DataConverter:
    """Extend *converter* so that an undecodable payload without type hint becomes an `Undecodable`.

    The codec, the failure converter and every payload that has a hint stay as they are.

    Raises:
        ConverterIncompatibleError: *converter* changes plain JSON objects, which all our payloads are.
    """
    base = converter if converter is not None else DataConverter.default
    if issubclass(base.payload_converter_class, Tolerant):
        return base
    _probe(base)
    extended = type(f"Tolerant{base.payload_converter_class.__name__}", (Tolerant, base.payload_converter_class), {})
    return dataclasses.replace(base, payload_converter_class=extended)


def of_workflow(client: Client, workflow_id: str) -> DataConverter:
    """Return a tolerant converter for the payloads of one workflow, also where a codec has a key for each.

    Raises:
        ConverterIncompatibleError: The client's converter changes plain JSON objects.
    """
    context = WorkflowSerializationContext(namespace=client.namespace, workflow_id=workflow_id)
    return tolerant(client.data_converter).with_context(context)


def _probe(base: DataConverter) -> None:
    name = base.payload_converter_class.__name__
    try:
        back = base.payload_converter.from_payloads(base.payload_converter.to_payloads([_PROBE]))
    except Exception as error:
        raise ConverterIncompatibleError(name, type(error).__name__) from error
    if back != [_PROBE]:
        raise ConverterIncompatibleError(name, "it changed the object")


class Tolerant(PayloadConverter):
    """Decodes payloads; an unreadable one from outside becomes an `Undecodable`."""

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """See base class.

        Raises:
            PayloadUnreadableError: The payload is encrypted with a missing key, and a type was asked for, or it is an
                answer of the workflow's own activity or child: the workflow task fails, and is tried again.
        """
        if type_hints is not None and all(hint is RawValue for hint in type_hints):
            return [RawValue(payload) for payload in payloads]  # whoever reads them later finds what cannot be read
        unread = next((found for each in payloads if (found := read_unread(each)) is not None), None)
        hinted = type_hints is not None and any(hint is not object for hint in type_hints)
        if unread is not None and (hinted or self._answers_this_workflow()):
            raise PayloadUnreadableError(unread.problem, unread.key)
        if unread is not None:
            return [self._one(payload) for payload in payloads]
        try:
            return super().from_payloads(payloads, type_hints)  # type: ignore[safe-super]
        except Exception:
            if hinted:
                raise
            return [self._one(payload) for payload in payloads]

    def _answers_this_workflow(self) -> bool:
        """Return True where a workflow reads the result of its own activity or child."""
        return False

    def _one(self, payload: Payload) -> Any:
        unread = read_unread(payload)
        if unread is not None:
            return unread
        try:
            [value] = super().from_payloads([payload])  # type: ignore[safe-super]
        except Exception as error:  # noqa: BLE001 - any decoder's error means the same here
            return Undecodable(type(error).__name__)
        return value


class Watchful(WithSerializationContext):
    """Added to `Tolerant` where payloads are encrypted: knows which workflow or activity a payload belongs to.

    An unreadable result of the workflow's own activity or child never becomes an `Undecodable`.
    """

    _context: SerializationContext | None = None

    def with_context(self, context: SerializationContext) -> Self:
        """See base class."""
        above: Any = super()  # whatever converter of the user's this one extends
        plain = getattr(above.with_context, "__func__", None) is WithSerializationContext.with_context
        told: Self = self if plain else above.with_context(context)
        extended = copy.copy(self) if told is self else told
        extended._context = context
        return extended

    def _answers_this_workflow(self) -> bool:
        if not workflow.in_workflow():
            return False
        match self._context:
            case WorkflowSerializationContext(workflow_id=id):
                return id != workflow.info().workflow_id
            case ActivitySerializationContext():
                return True
        return False


async def concealed(reason: str, converter: DataConverter) -> str:
    """Return the reason as the codec encodes it, or as it is where there is no codec."""
    if converter.payload_codec is None or not reason:
        return reason
    [payload] = await converter.encode([reason])
    return _ENCODED + base64.b64encode(payload.SerializeToString()).decode()


async def revealed(told: str, converter: DataConverter) -> str:
    """Decode a reason; where that fails, say so in its place."""
    if not told.startswith(_ENCODED):
        return told
    try:
        payload = Payload.FromString(base64.b64decode(told.removeprefix(_ENCODED), validate=True))
        [reason] = await converter.decode([payload])
    except (binascii.Error, DecodeError, ValueError):
        return told
    if isinstance(reason, Undecodable):
        return f"(the reason cannot be read here: {reason.problem})"
    return reason if isinstance(reason, str) else told
