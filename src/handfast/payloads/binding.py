"""The digest to which a decision is bound: it covers all that must not change between an approval and its effect."""

from __future__ import annotations

import json
from typing import Any

from handfast.payloads.base import Payload
from handfast.payloads.canonical import sha256_digest
from handfast.payloads.json_profile import JsonObject

__all__ = ["Binding", "Bound", "difference", "digest_of", "text_digest"]


class Bound(Payload):
    """Facts that a request's digest covers and the request itself does not show: place, rule and deadline.

    Attributes:
        namespace: Of Temporal: the tenant. None where the run had no model reply yet, which records it.
        workflow: Workflow id.
        run: Run id of the first run under it, stable over continue-as-new.
        schema_digest: Digest of the tool's parameters as the model was offered them, where that is known. Opaque.
        policy_digest: Digest of what the approval rule said. Opaque.
        deadline: When the request opened. As text, word for word as on the wire; escalation does not change it.
    """

    namespace: str | None = None
    workflow: str
    run: str
    schema_digest: str | None = None
    policy_digest: str | None = None
    deadline: str | None = None


class Binding(Bound):
    """All that a digest covers besides the arguments."""

    request: str
    agent_path: list[str]
    tool: str | None = None
    call: str | None = None


def digest_of(binding: Binding, arguments: JsonObject | None) -> str:
    """Return ``"v1:"`` and the hexadecimal SHA-256 of the canonical JSON of both; what is None is left out.

    Computed when a request opens, or its arguments are edited; from then on only stored, carried and compared.
    """
    covered = binding.to_wire()
    return sha256_digest(covered if arguments is None else {**covered, "arguments": arguments})


def difference(digest: str, binding: Binding, arguments: JsonObject | None, **in_hand: Any) -> str | None:
    """Compare a call in hand with the approved one; return the difference, None where there is none.

    Args:
        digest: Under which the call was released.
        binding: What that digest covers, as it was carried.
        arguments: In hand.
        in_hand: Fields of the binding that are known here by themselves.
    """
    changed = [name for name, value in in_hand.items() if getattr(binding, name) != value]
    if changed:
        return f"not what was approved: {', '.join(changed)}"
    if digest != digest_of(binding, arguments):
        return "the arguments in hand are not those that were approved"
    return None


def text_digest(value: object) -> str:
    """Return an opaque digest of a value that need not be within the limits of `json_profile`, such as a schema."""
    return sha256_digest(json.dumps(value, sort_keys=True, separators=(",", ":")))
