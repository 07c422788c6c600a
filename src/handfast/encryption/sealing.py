"""How an encrypted payload looks, and what stands in for one that cannot be read here."""

from __future__ import annotations

import os
from typing import Final

from temporalio.api.common.v1 import Payload

from handfast.payloads.undecodable import Undecodable

ENCRYPTED: Final = b"binary/handfast-encrypted"
"""The encoding of what `handfast.encryption` writes."""
KEY: Final = "handfast-key"
NAMESPACE: Final = "handfast-namespace"
WORKFLOW: Final = "handfast-workflow"

_UNREAD: Final = b"binary/null"
"""Nothing, for whoever does not know it: interceptors read headers with a converter of their own, and one that raises
there fails the workflow task for good."""
_OURS: Final = os.urandom(16)
"""Told by this process alone: a sentinel that somebody sends is none."""


def unread(problem: str, key: str | None = None) -> Payload:
    """A payload that says why another one is not read: what a codec answers instead of raising."""
    metadata = {"encoding": _UNREAD, "ours": _OURS, "problem": problem.encode()}
    if key is not None:
        metadata["key"] = key.encode()
    return Payload(metadata=metadata)


def read_unread(payload: Payload) -> Undecodable | None:
    """What such a payload says, or one that is still encrypted; None for every other one."""
    encoding = payload.metadata.get("encoding")
    if encoding == ENCRYPTED:
        key = payload.metadata.get(KEY, b"?").decode(errors="replace")[:64]
        return Undecodable(f"it is encrypted with the key {key!r}, and this process has no key ring", True, key)
    if encoding != _UNREAD or payload.metadata.get("ours") != _OURS:
        return None
    missing = payload.metadata.get("key")
    problem = payload.metadata["problem"].decode()
    return Undecodable(problem, True, None if missing is None else missing.decode())
