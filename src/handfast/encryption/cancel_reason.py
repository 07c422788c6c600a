"""Encode the reason of a cancellation, which Temporal keeps as plain text beside the codec."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter

from handfast.payloads.base import Undecodable

_ENCODED: Final = "handfast-encoded:"


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
