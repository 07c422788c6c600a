"""The form of an encrypted payload, and of the sentinel for one that cannot be read here."""

from __future__ import annotations

import os
from typing import Final

from temporalio.api.common.v1 import Payload

from handfast.payloads.base import Undecodable

ENCRYPTED: Final = b"binary/handfast-encrypted"
"""Encoding of our encrypted payloads."""
KEY: Final = "handfast-key"
NAMESPACE: Final = "handfast-namespace"
WORKFLOW: Final = "handfast-workflow"

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
