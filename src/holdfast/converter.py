"""A payload converter that never raises where nobody said what to expect."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import temporalio.api.common.v1
from temporalio.client import Client
from temporalio.converter import DataConverter, PayloadConverter, WorkflowSerializationContext

from holdfast.errors import ConverterIncompatibleError
from holdfast.payloads.undecodable import Undecodable

_PROBE: dict[str, Any] = {"holdfast": [1, True, None, "x"]}


def tolerant(converter: DataConverter | None) -> DataConverter:
    """Extend *converter* so that an undecodable payload without type hint becomes an `Undecodable`.

    The codec, the failure converter and every payload that has a hint stay as they are.

    Raises:
        ConverterIncompatibleError: It does not keep plain JSON objects as they are, which every payload of ours is.
    """
    base = converter if converter is not None else DataConverter.default
    if issubclass(base.payload_converter_class, _Tolerant):
        return base
    _probe(base)
    extended = type(f"Tolerant{base.payload_converter_class.__name__}", (_Tolerant, base.payload_converter_class), {})
    return dataclasses.replace(base, payload_converter_class=extended)


def of_workflow(client: Client, workflow_id: str) -> DataConverter:
    """A tolerant converter for what *client* reads and writes of one workflow, also with a codec that has keys by it.

    Raises:
        ConverterIncompatibleError: As `tolerant`.
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


class _Tolerant(PayloadConverter):
    def from_payloads(
        self,
        payloads: Sequence[temporalio.api.common.v1.Payload],
        type_hints: list[type] | None = None,
    ) -> list[Any]:
        try:
            return super().from_payloads(payloads, type_hints)  # type: ignore[safe-super]
        except Exception:
            if type_hints is not None and any(hint is not object for hint in type_hints):
                raise
            return [self._one(payload) for payload in payloads]

    def _one(self, payload: temporalio.api.common.v1.Payload) -> Any:
        try:
            [value] = super().from_payloads([payload])  # type: ignore[safe-super]
        except Exception as error:  # noqa: BLE001 - any decoder's error means the same here
            return Undecodable(type(error).__name__)
        return value
